#include "sim/sweep/foreman.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>

#include "models/base/error.hpp"
#include "sim/sweep/crew.hpp"
#include "sim/sweep/framed.hpp"

namespace moesim {
namespace {

std::string machine() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

void say(int stream, const std::string& text) {
  if (!write_stream(stream, framed(text))) _exit(1);
}

/// Waits for a text; the process ends where nobody is left to say one.
std::string listen(int stream, std::string& heard) {
  for (;;) {
    if (std::optional<std::string> text = take_framed(heard)) return *text;
    if (!read_stream(stream, heard)) _exit(0);
  }
}

/// Runs the points that it is told, some at a time, until nobody listens.
void serve(const SweepPlan& plan, unsigned jobs, int stream, std::string& heard) {
  Crew crew(plan, jobs);
  std::deque<std::size_t> waiting;
  for (;;) {
    while (std::optional<std::string> text = take_framed(heard)) waiting.push_back(std::stoul(*text));
    while (!waiting.empty() && crew.is_free(waiting.size())) {
      crew.add(waiting.front());
      waiting.pop_front();
    }
    for (const FinishedPoint& finished : crew.wait_beside(stream, -1)) say(stream, print(finished));
    pollfd more{.fd = stream, .events = POLLIN, .revents = 0};
    if (::poll(&more, 1, 0) > 0 && !read_stream(stream, heard)) return;
  }
}

[[noreturn]] void live(const SweepRequest& request, int stream) {
  std::signal(SIGINT, SIG_IGN);  // ends with the rank
  std::signal(SIGTERM, SIG_IGN);
  std::string heard;
  try {
    const SweepPlan plan = plan_sweep(request, listen(stream, heard));
    say(stream, print(Readiness{.basis = basis_of(plan), .error = {}}));
    serve(plan, request.jobs, stream, heard);
    _exit(0);
  } catch (const std::exception& error) {
    say(stream, print(Readiness{.basis = {}, .error = fmt::format("{}: {}", machine(), error.what())}));
  }
  _exit(1);
}

[[noreturn]] void fail_lost() {
  throw RunError(fmt::format("{}: the process that runs its points has ended", machine()));
}

/// The first text, which has come whole.
std::string taken(std::string& text) {
  std::optional<std::string> first = take_framed(text);
  ensure(first.has_value(), "a letter is whole");
  return std::move(*first);
}

}  // namespace

Foreman::Foreman(const SweepRequest& request) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw RunError(fmt::format("no stream to a process: {}", std::strerror(errno)));
  const pid_t parent = getpid();
  process_ = fork();
  if (process_ < 0) throw RunError(fmt::format("no process to run points: {}", std::strerror(errno)));
  if (process_ == 0) {
    end_with(parent);
    ::close(ends[0]);
    live(request, ends[1]);
  }
  ::close(ends[1]);
  stream_ = ends[0];
}

Foreman::~Foreman() {
  ::close(stream_);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void Foreman::tell(const std::string& text) {
  if (!write_stream(stream_, framed(text))) fail_lost();
}

std::optional<std::string> Foreman::hear(int milliseconds) {
  if (std::optional<std::string> text = take_framed(heard_)) return text;
  pollfd stream{.fd = stream_, .events = POLLIN, .revents = 0};
  if (::poll(&stream, 1, milliseconds) <= 0) return std::nullopt;
  if (!read_stream(stream_, heard_)) fail_lost();
  return take_framed(heard_);
}

std::string print(const Readiness& readiness) { return framed(readiness.basis) + framed(readiness.error); }

Readiness parse_readiness(std::string text) {
  Readiness readiness;
  readiness.basis = taken(text);
  readiness.error = taken(text);
  return readiness;
}

std::string print(const FinishedPoint& finished) {
  return framed(fmt::to_string(finished.point)) + framed(finished.is_final ? "final" : "killed") +
         framed(finished.result.scenario) + framed(finished.result.report) + framed(finished.result.error);
}

FinishedPoint parse_finished(std::string text) {
  FinishedPoint finished;
  finished.point = std::stoul(taken(text));
  finished.is_final = taken(text) == "final";
  finished.result.scenario = taken(text);
  finished.result.report = taken(text);
  finished.result.error = taken(text);
  return finished;
}

}  // namespace moesim
