// moesim list [FAMILY] and moesim describe [FAMILY[.MEMBER]]: what there is, and every key with its help.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/routing/skew.hpp"
#include "sim/read/scenario.hpp"
#include "sim/scenario/scenario.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

/// A member of any family, with its keys.
struct Member {
  std::string name, sentence;
  std::vector<Declaration> keys;
};

struct Family {
  std::string name, sentence;
  std::vector<Member> members;
};

template <class Interface>
Family family(std::string name, std::string sentence, Register<Interface> entries) {
  Family result{std::move(name), std::move(sentence), {}};
  for (const Entry<Interface>* entry : entries) {
    result.members.push_back(
        {std::string(entry->name), std::string(entry->sentence), describe_member(*entry)});
  }
  return result;
}

std::vector<Family> families() {
  return {family("schedule", "the order of passes on each pipeline rank", schedules()),
          family("topology", "how devices are wired", topologies()),
          family("routing", "which experts a token goes to", routings()),
          family("skew", "how much more some experts are liked than others", skews()),
          family("balancing", "what brings the loads of experts together from step to step", balancings()),
          family("gradient_sync", "how gradients become parameters", gradient_syncs()),
          family("optimizer", "what a new parameter takes", optimizers()),
          family("collective", "how a group communicates", collectives()),
          family("software", "what runs on a device for each op", softwares()),
          family("cost", "the time of one kernel", costs()),
          family("engine", "who shares what, when", engines())};
}

std::string keys_of(const std::vector<Declaration>& keys) {
  std::string text;
  for (const Declaration& key : keys) {
    text += fmt::format("    {:<22} {}\n", key.name, key.help);
    std::string details = key.type;
    if (key.required) details += ", must be given";
    if (!key.fallback.empty()) details += ", default " + key.fallback;
    if (!key.bounds.empty()) details += ", " + key.bounds;
    text += fmt::format("    {:<22} ({})\n", "", details);
  }
  return text;
}

[[noreturn]] void unknown(const std::string& what, const std::string& name,
                          const std::vector<std::string>& known) {
  const std::string near = nearest_name(name, known);
  throw InputError("", fmt::format("unknown {} '{}' (known: {}{})", what, name, fmt::join(known, ", "),
                                   near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

template <class Named>
const Named& named(const std::vector<Named>& all, const std::string& what, const std::string& name) {
  std::vector<std::string> known;
  for (const Named& one : all) {
    if (one.name == name) return one;
    known.push_back(one.name);
  }
  unknown(what, name, known);
}

std::string list(const std::string& name) {
  const std::vector<Family> all = families();
  std::string text;
  for (const Family& one : name.empty() ? all : std::vector<Family>{named(all, "family", name)}) {
    text += fmt::format("{}: {}\n", one.name, one.sentence);
    for (const Member& member : one.members)
      text += fmt::format("  {:<16} {}\n", member.name, member.sentence);
  }
  return text;
}

std::string describe_family(const Family& family, const std::string& member) {
  std::string text = fmt::format("{}: {}\n", family.name, family.sentence);
  for (const Member& one :
       member.empty() ? family.members : std::vector<Member>{named(family.members, family.name, member)}) {
    text += fmt::format("\n  \"kind\": \"{}\"   {}\n{}", one.name, one.sentence, keys_of(one.keys));
  }
  return text;
}

std::string describe_part(const DescribedPart& part) {
  return fmt::format("{}: {}\n{}", part.name, part.sentence, keys_of(part.keys));
}

std::string describe(const std::string& name) {
  const std::vector<DescribedPart> parts = describe_scenario();
  const std::vector<Family> all = families();
  std::string text;
  if (name.empty()) {
    for (const DescribedPart& part : parts) text += describe_part(part) + "\n";
    for (const Family& one : all) text += describe_family(one, {}) + "\n";
    text.pop_back();
    return text;
  }
  const std::string first = name.substr(0, name.find('.'));
  const std::string member = first == name ? std::string() : name.substr(first.size() + 1);
  const auto part =
      std::find_if(parts.begin(), parts.end(), [&](const DescribedPart& p) { return p.name == first; });
  if (part != parts.end()) return describe_part(*part);
  const auto found = std::find_if(all.begin(), all.end(), [&](const Family& f) { return f.name == first; });
  if (found != all.end()) return describe_family(*found, member);
  std::vector<std::string> known;
  for (const DescribedPart& p : parts) known.push_back(p.name);
  for (const Family& f : all) known.push_back(f.name);
  unknown("part or family", first, known);
}

}  // namespace

void add_list_commands(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  CLI::App* lister = app.add_subcommand("list", "list the members of all families, or of one");
  lister->add_option("FAMILY", *name,
                     "schedule, topology, routing, skew, balancing, gradient_sync, collective, cost, engine");
  lister->callback([name] { write_file("-", list(*name)); });
  CLI::App* describer =
      app.add_subcommand("describe", "every key of a scenario, with help, unit, default and bounds");
  describer->add_option("PART", *name, "a part, a family, or FAMILY.MEMBER");
  describer->callback([name] { write_file("-", describe(*name)); });
}

}  // namespace moesim
