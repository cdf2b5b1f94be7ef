#include "sim/sweep/crew.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "models/base/error.hpp"
#include "sim/sweep/framed.hpp"

namespace moesim {
namespace {

[[noreturn]] void work(const SweepPlan& plan, std::size_t point, int stream) {
  std::signal(SIGINT, SIG_IGN);  // the sweep hears it as well, and ends its workers
  std::signal(SIGTERM, SIG_DFL);
  const PointResult result = run_point(plan, point);
  for (const std::string* text : {&result.scenario, &result.report, &result.error}) {
    if (!write_stream(stream, framed(*text))) _exit(1);
  }
  _exit(0);
}

PointResult read_result(std::string& heard) {
  PointResult result;
  for (std::string* text : {&result.scenario, &result.report, &result.error}) {
    std::optional<std::string> taken = take_framed(heard);
    ensure(taken.has_value(), "a worker tells its whole result");
    *text = std::move(*taken);
  }
  return result;
}

}  // namespace

void end_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it ended before it was asked
}

Crew::~Crew() {
  for (const Child& child : children_) {
    ::kill(child.process, SIGKILL);
    ::close(child.stream);
    ::waitpid(child.process, nullptr, 0);
  }
}

void Crew::add(std::size_t point) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw RunError(fmt::format("no stream to a worker: {}", std::strerror(errno)));
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process < 0) throw RunError(fmt::format("no process for a worker: {}", std::strerror(errno)));
  if (process == 0) {
    end_with(parent);
    ::close(ends[0]);
    work(plan_, point, ends[1]);
  }
  ::close(ends[1]);
  children_.push_back({.process = process, .stream = ends[0], .point = point});
}

std::vector<FinishedPoint> Crew::wait_beside(int stream, int milliseconds) {
  std::vector<pollfd> streams;
  for (const Child& child : children_)
    streams.push_back({.fd = child.stream, .events = POLLIN, .revents = 0});
  streams.push_back({.fd = stream, .events = POLLIN, .revents = 0});  // poll leaves -1 alone
  std::vector<FinishedPoint> finished;
  if (::poll(streams.data(), streams.size(), milliseconds) < 0) return finished;
  for (std::size_t i = children_.size(); i-- > 0;) {
    if (streams[i].revents == 0 || read_stream(children_[i].stream, children_[i].heard)) continue;
    Child ended = std::move(children_[i]);
    children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
    finished.push_back(judge(ended));
  }
  return finished;
}

FinishedPoint Crew::judge(Child& child) const {
  int status = 0;
  ::close(child.stream);
  while (::waitpid(child.process, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return {.point = child.point, .result = read_result(child.heard)};
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  const std::string why = signal != 0 ? fmt::format("signal {}", signal) : "an exit of its own";
  return {
      .point = child.point,
      .result = {.scenario = plan_.base, .report = {}, .error = fmt::format("the worker ended by {}", why)},
      .is_final = signal != SIGKILL && signal != SIGTERM};
}

}  // namespace moesim
