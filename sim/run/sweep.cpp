#include "sim/run/sweep.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/run/compare.hpp"
#include "sim/run/simulate.hpp"

namespace moesim {
namespace {

std::string one_line(const Value& value) { return print(value, std::numeric_limits<std::size_t>::max()); }

std::string choice_of(const std::vector<Value>& values) {
  Value list{.kind = Value::Kind::list};
  list.items = values;
  return one_line(list);
}

Value without_sweep(Value document) {
  std::erase_if(document.members, [](const auto& member) { return member.first == "sweep"; });
  return document;
}

/// Opens parts that are files in place: what is kept must tell when one of them has changed.
void open_parts(Value& value) {
  for (auto& [name, part] : value.members) {
    try {
      if (part.kind == Value::Kind::text && part.text.ends_with(".json"))
        part = load_document(find_beside(part.text, part.origin));
    } catch (const InputError&) {  // a run says what is wrong with it
    }
    if (part.kind == Value::Kind::object) open_parts(part);
  }
}

/// The scenario as it is kept.
std::string whole(Value document) {
  open_parts(document);
  return one_line(document);
}

/// The report without the time that the simulation took, which differs from start to start.
std::string report_of(const Scenario& scenario) {
  Value report = parse_json(write_report_json(simulate(scenario).report), "report");
  if (Value* engine = report.find("engine"))
    std::erase_if(engine->members, [](const auto& member) { return member.first == "wall_s"; });
  return one_line(report);
}

PointResult run_point(const SweepPlan& plan, const std::vector<Value>& values) {
  PointResult result{.scenario = plan.base, .report = {}, .error = {}};
  std::vector<Override> overrides = plan.overrides;
  for (std::size_t i = 0; i < values.size(); ++i)
    overrides.push_back({.key = plan.keys[i], .value = values[i]});
  try {
    const Value document = without_sweep(load_document_text(plan.text, plan.origin, overrides));
    result.scenario = whole(document);
    result.report = report_of(read_scenario(document));
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  return result;
}

/// A process that works on one point; it writes three texts, each after its length.
struct Child {
  pid_t process = 0;
  int pipe = -1;
  std::size_t point = 0;
  std::string heard{};
};

void send(int pipe, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = ::write(pipe, bytes.data() + sent, bytes.size() - sent);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) _exit(1);
    sent += static_cast<std::size_t>(count);
  }
}

[[noreturn]] void work(const SweepPlan& plan, std::size_t point, int pipe) {
  std::signal(SIGINT, SIG_IGN);  // the sweep hears it as well, and ends its workers
  std::signal(SIGTERM, SIG_DFL);
  const PointResult result = run_point(plan, plan.points[point]);
  for (const std::string* text : {&result.scenario, &result.report, &result.error})
    send(pipe, fmt::format("{}\n{}", text->size(), *text));
  _exit(0);
}

Child start(const SweepPlan& plan, std::size_t point) {
  int ends[2];
  if (::pipe(ends) != 0) throw RunError(fmt::format("no pipe to a worker: {}", std::strerror(errno)));
  const pid_t process = fork();
  if (process < 0) throw RunError(fmt::format("no process for a worker: {}", std::strerror(errno)));
  if (process == 0) {
    ::close(ends[0]);
    work(plan, point, ends[1]);
  }
  ::close(ends[1]);
  return {.process = process, .pipe = ends[0], .point = point};
}

PointResult read_result(const std::string& heard) {
  PointResult result;
  std::size_t at = 0;
  for (std::string* text : {&result.scenario, &result.report, &result.error}) {
    const std::size_t end = heard.find('\n', at);
    ensure(end != std::string::npos, "a worker tells its whole result");
    const std::size_t length = std::stoul(heard.substr(at, end - at));
    *text = heard.substr(end + 1, length);
    at = end + 1 + length;
  }
  return result;
}

/// Workers that end with the sweep, however it ends.
class Crew {
 public:
  explicit Crew(const SweepPlan& plan) : plan_(plan) {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() {
    for (const Child& child : children_) {
      ::kill(child.process, SIGKILL);
      ::close(child.pipe);
      ::waitpid(child.process, nullptr, 0);
    }
  }
  std::size_t size() const { return children_.size(); }
  void add(std::size_t point) { children_.push_back(start(plan_, point)); }

  /// Waits for what workers say and calls `done(point, result, is_final)` for each that ended. A signal ends
  /// the wait.
  template <class Done>
  void wait(Done done) {
    std::vector<pollfd> pipes;
    for (const Child& child : children_) pipes.push_back({.fd = child.pipe, .events = POLLIN, .revents = 0});
    if (::poll(pipes.data(), pipes.size(), -1) < 0) return;
    for (std::size_t i = pipes.size(); i-- > 0;) {
      if (pipes[i].revents == 0 || hear(children_[i])) continue;
      const Child ended = std::move(children_[i]);
      children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
      judge(ended, done);
    }
  }

 private:
  /// Whether there may be more to hear.
  static bool hear(Child& child) {
    char bytes[65536];
    const ssize_t count = ::read(child.pipe, bytes, sizeof bytes);
    if (count > 0) child.heard.append(bytes, static_cast<std::size_t>(count));
    return count > 0 || (count < 0 && errno == EINTR);
  }
  template <class Done>
  void judge(const Child& child, Done done) const {
    int status = 0;
    ::close(child.pipe);
    while (::waitpid(child.process, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
      return done(child.point, read_result(child.heard), true);
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const bool was_killed = signal == SIGKILL || signal == SIGTERM;
    const std::string why = signal != 0 ? fmt::format("signal {}", signal) : "an exit of its own";
    done(child.point,
         PointResult{.scenario = plan_.base, .report = {}, .error = "the worker ended by " + why},
         !was_killed);
  }

  const SweepPlan& plan_;
  std::vector<Child> children_;
};

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char letter : text) result += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return result + '"';
}

std::string cell(const Value& value) {
  return quoted(value.kind == Value::Kind::text ? value.text : one_line(value));
}

/// The value down a path of the report, or nothing.
std::string cell_at(const Value& report, std::initializer_list<std::string_view> path) {
  const Value* value = &report;
  for (const std::string_view name : path) {
    value = value == nullptr ? nullptr : value->find(name);
  }
  return value == nullptr ? "" : cell(*value);
}

bool is_finished(const SweptPoint& point) {
  return !point.result.report.empty() || !point.result.error.empty();
}

}  // namespace

VariedKey parse_swept_key(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string_view::npos && equals > 0) {
    const std::string where = fmt::format("--over {}", argument.substr(0, equals));
    if (auto range = parse_range(std::string(argument.substr(equals + 1)), where))
      return {.key = std::string(argument.substr(0, equals)), .values = std::move(*range)};
  }
  return parse_varied_key(argument);
}

SweepPlan plan_sweep(const SweepRequest& request) {
  SweepPlan plan{.text = read_file(request.path),
                 .origin = request.path == "-" ? "standard input" : request.path,
                 .overrides = request.overrides,
                 .base = {},
                 .keys = {},
                 .points = {}};
  const Value document = load_document_text(plan.text, plan.origin, plan.overrides);
  plan.base = whole(without_sweep(document));
  std::vector<ZippedKeys> axes = read_axes(document);
  axes.insert(axes.end(), request.axes.begin(), request.axes.end());
  if (axes.empty())
    throw InputError(plan.origin, "varies no key", "add a \"sweep\", or --over KEY=VALUE,VALUE,...");
  plan.keys = keys_of(axes);
  plan.points = points_of(axes);
  return plan;
}

std::vector<SweptPoint> sweep(const SweepPlan& plan, const SweepRequest& request,
                              const std::function<bool(const SweepProgress&)>& watch) {
  Value keys{.kind = Value::Kind::list};
  for (const std::string& key : plan.keys) keys.items.push_back({.kind = Value::Kind::text, .text = key});
  Results results(request.results, plan.base, one_line(keys));
  const auto known = results.load();
  std::vector<SweptPoint> points;
  std::vector<std::size_t> missing;
  for (const std::vector<Value>& values : plan.points) {
    const auto found = known.find(choice_of(values));
    if (found == known.end()) missing.push_back(points.size());
    points.push_back({values, found == known.end() ? PointResult{} : found->second});
  }
  SweepProgress progress{.points = points.size(),
                         .done = points.size() - missing.size(),
                         .found = points.size() - missing.size()};
  Crew crew(plan);
  std::size_t next = 0;
  bool goes_on = watch(progress);
  while (goes_on && (next < missing.size() || crew.size() > 0)) {
    while (next < missing.size() && crew.size() < std::max(1U, request.jobs)) crew.add(missing[next++]);
    crew.wait([&](std::size_t point, PointResult result, bool is_final) {
      if (is_final) results.keep(choice_of(points[point].values), result);
      points[point].result = std::move(result);
      ++progress.done;
    });
    goes_on = watch(progress);
  }
  return points;
}

std::string write_csv(const SweepPlan& plan, const std::vector<SweptPoint>& points) {
  std::string rows;
  for (const std::string& key : plan.keys) rows += quoted(key) + ",";
  rows +=
      "step_time_s,tokens_per_s_per_device,mfu,bubble_fraction,exposed_communication_s,peak_memory,fits,"
      "error\n";
  for (const SweptPoint& point : points) {
    if (!is_finished(point)) continue;
    for (const Value& value : point.values) rows += cell(value) + ",";
    const Value report =
        point.result.report.empty() ? Value{} : parse_json(point.result.report, "report of a point");
    rows += fmt::format("{},{},{},{},{},{},{},{}\n", cell_at(report, {"step_time_s"}),
                        cell_at(report, {"tokens_per_s_per_device"}), cell_at(report, {"mfu"}),
                        cell_at(report, {"pipeline", "bubble_fraction"}),
                        cell_at(report, {"breakdown_s", "exposed_communication"}),
                        cell_at(report, {"memory", "peak"}), cell_at(report, {"memory", "fits"}),
                        quoted(point.result.error));
  }
  return rows;
}

std::string write_json_lines(const SweepPlan& plan, const std::vector<SweptPoint>& points) {
  std::string lines;
  for (const SweptPoint& point : points) {
    if (!is_finished(point)) continue;
    Value line{.kind = Value::Kind::object};
    Value values{.kind = Value::Kind::object};
    for (std::size_t i = 0; i < plan.keys.size(); ++i) values.set(plan.keys[i], point.values[i]);
    line.set("values", std::move(values));
    line.set("scenario", parse_json(point.result.scenario, "scenario of a point"));
    if (point.result.error.empty()) {
      line.set("report", parse_json(point.result.report, "report of a point"));
    } else {
      line.set("error", Value{.kind = Value::Kind::text, .text = point.result.error});
    }
    lines += one_line(line) + "\n";
  }
  return lines;
}

}  // namespace moesim
