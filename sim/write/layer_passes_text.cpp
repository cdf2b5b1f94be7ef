#include "sim/picture/layer_text.hpp"

#include <fmt/format.h>

#include "sim/layer/acts.hpp"

namespace moesim {
namespace {

/// "0 to 2", "0, 2, 4 and 27 more".
std::string print_layers(const std::vector<std::int64_t>& layers) {
  if (layers.size() == 1) return fmt::format("layer {}", layers.front());
  const auto count = static_cast<std::int64_t>(layers.size());
  if (layers.back() - layers.front() == count - 1)
    return fmt::format("layers {} to {}", layers.front(), layers.back());
  constexpr std::size_t named = 3;
  std::string text = fmt::format("layers {}", layers.front());
  for (std::size_t i = 1; i < std::min(named, layers.size()); ++i) text += fmt::format(", {}", layers[i]);
  return layers.size() > named ? text + fmt::format(" and {} more", layers.size() - named) : text;
}

std::string title_of(const LayerPasses& of) {
  if (of.end != Work::none) return std::string(work_names[static_cast<std::size_t>(of.end)]);
  return fmt::format("{}: {}", print_layers(of.layers),
                     of.has_experts ? "attention and experts" : "attention and a dense feed-forward");
}

std::string_view name_of(Work work) { return work_names[static_cast<std::size_t>(work)]; }

/// "attention, input gradient", "attention, blocks 1 to 3 of keys", "tensor reduce_scatter", "needs
/// parameters".
std::string name_of(const Act& act) {
  switch (act.kind) {
    case ActKind::needs:
      return "needs parameters";
    case ActKind::produces:
      return fmt::format("produces gradients of {}", name_of(act.work));
    case ActKind::call:
      if (!is_exchange(act.work))
        return fmt::format("{} {}", name_of(act.work),
                           operation_names[static_cast<std::size_t>(act.operation)]);
      return std::string(name_of(act.work));
    default:
      break;
  }
  const std::string_view of = act.pass == OpPass::forward          ? ""
                              : act.pass == OpPass::backward_input ? ", input gradient"
                                                                   : ", weight gradient";
  if (act.blocks == 0) return fmt::format("{}{}", name_of(act.work), of);
  if (act.blocks == 1) return fmt::format("{}{}, block {} of keys", name_of(act.work), of, act.first_block);
  return fmt::format("{}{}, blocks {} to {} of keys", name_of(act.work), of, act.first_block,
                     act.first_block + act.blocks - 1);
}

void add_pass(const LayerPass& pass, std::string& text) {
  text +=
      fmt::format("  {:<52} {:>10}\n", pass_letters[static_cast<std::size_t>(pass.pass)], print(pass.time));
  for (const PricedAct& of : pass.acts) {
    const bool is_beside = of.act.lane != main_lane;
    text +=
        fmt::format("    {} {:<48} {:>10} {:>10}", is_beside ? '|' : ' ', name_of(of.act),
                    of.time.count > 0 ? print(of.time) : "", of.bytes > 0 ? print(from_bytes(of.bytes)) : "");
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  if (pass.kept.count == 0) return;
  const bool keeps = pass.kept.count > 0;
  text += fmt::format("      {:<48} {:>10} {:>10}\n", keeps ? "keeps for later passes" : "lets go", "",
                      print(keeps ? pass.kept : Bytes{} - pass.kept));
}

}  // namespace

std::string draw_text(const std::vector<std::string>& title, const std::vector<LayerPasses>& all) {
  std::string text;
  for (const std::string& line : title) text += line + '\n';
  text += fmt::format("\n{:<54} {:>10} {:>10}\n", "one microbatch on one rank, each act by itself", "time",
                      "bytes");
  for (const LayerPasses& of : all) {
    text += fmt::format("\n{}\n", title_of(of));
    for (const LayerPass& pass : of.passes) add_pass(pass, text);
    if (of.pair) text += fmt::format("  {:<52} {:>10}\n", "F beside BW", print(*of.pair));
  }
  return text;
}

}  // namespace moesim
