#include "sim/sweep/fleet.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

const std::string the_end;                // the letter that ends a rank
const std::string lost = "lost";          // the letter of a rank whose foreman has ended
constexpr int shortest = 1, longest = 8;  // milliseconds between looks

}  // namespace

void serve_fleet(const Ranks& ranks, Foreman& foreman) {
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  bool is_lost = false;
  int pause = shortest;
  for (;;) {
    pause = std::min(2 * pause, longest);
    try {
      while (const std::optional<Letter> order = ranks.receive()) {
        if (order->text == the_end) return;
        if (!is_lost) foreman.tell(order->text);
        pause = shortest;
      }
      if (is_lost) std::this_thread::sleep_for(std::chrono::milliseconds(pause));
      while (std::optional<std::string> answer = is_lost ? std::nullopt : foreman.hear(pause)) {
        ranks.send(0, *answer);
        pause = shortest;
      }
    } catch (const RunError&) {
      if (!is_lost) ranks.send(0, lost);
      is_lost = true;
    }
  }
}

Fleet::Fleet(const Ranks& ranks, Foreman& foreman, unsigned jobs)
    : ranks_(ranks),
      foreman_(foreman),
      jobs_(std::max(1U, jobs)),
      members_(static_cast<std::size_t>(ranks.count())) {}

Fleet::~Fleet() {
  for (int rank = 1; rank < ranks_.count(); ++rank) ranks_.send(rank, the_end);
}

void Fleet::tell(std::size_t member, const std::string& text) {
  if (member == 0) {
    foreman_.tell(text);
  } else {
    ranks_.send(static_cast<int>(member), text);
  }
}

/// Whatever comes first: the others' letters cannot be waited for, so it looks for them now and then.
std::optional<Letter> Fleet::hear(int milliseconds) {
  for (;;) {
    if (std::optional<Letter> letter = look(std::min(pause_, milliseconds))) {
      pause_ = shortest;
      return letter;
    }
    milliseconds -= pause_;
    if (milliseconds <= 0) return std::nullopt;
    pause_ = std::min(2 * pause_, longest);
  }
}

std::optional<Letter> Fleet::look(int milliseconds) {
  if (std::optional<Letter> letter = ranks_.receive()) return letter;
  if (members_[0].is_lost) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return std::nullopt;
  }
  try {
    if (std::optional<std::string> text = foreman_.hear(milliseconds))
      return Letter{.from = 0, .text = *text};
  } catch (const RunError&) {
    return Letter{.from = 0, .text = lost};
  }
  return std::nullopt;
}

void Fleet::begin(const SweepPlan& plan) {
  for (std::size_t member = 0; member < members_.size(); ++member) tell(member, plan.text);
  for (std::size_t answers = 0; answers < members_.size();) {
    const std::optional<Letter> letter = hear(500);
    if (!letter) continue;
    if (letter->text == lost) throw RunError(fmt::format("rank {} has ended before it began", letter->from));
    const Readiness readiness = parse_readiness(letter->text);
    if (!readiness.error.empty()) throw RunError(fmt::format("rank {} on {}", letter->from, readiness.error));
    if (readiness.basis != basis_of(plan)) {
      throw RunError(
          fmt::format("rank {} finds other files of the scenario's parts than rank 0: all ranks must "
                      "see the same",
                      letter->from));
    }
    ++answers;
  }
}

std::size_t Fleet::room(std::size_t left) const {
  const bool are_many = left > 2 * jobs_ * members_.size();
  return jobs_ + (are_many ? 1 : 0);
}

std::size_t Fleet::freest() const {
  const auto place = [](const Member& member) { return std::pair(member.is_lost, member.points.size()); };
  const auto least = std::min_element(members_.begin(), members_.end(),
                                      [&](const Member& a, const Member& b) { return place(a) < place(b); });
  return static_cast<std::size_t>(least - members_.begin());
}

bool Fleet::is_free(std::size_t left) const {
  const Member& member = members_[freest()];
  return !member.is_lost && member.points.size() < room(left);
}

std::size_t Fleet::count() const {
  std::size_t sum = 0;
  for (const Member& member : members_) sum += member.points.size();
  return sum;
}

void Fleet::add(std::size_t point) {
  const std::size_t member = freest();
  members_[member].points.insert(point);
  try {
    tell(member, fmt::to_string(point));
  } catch (const RunError&) {
    lose(member);
  }
}

void Fleet::take(const Letter& letter, std::vector<FinishedPoint>& finished) {
  Member& member = at(members_, letter.from);
  if (letter.text != lost) {
    finished.push_back(parse_finished(letter.text));
    member.points.erase(finished.back().point);
    return;
  }
  lose(static_cast<std::size_t>(letter.from));
}

void Fleet::lose(std::size_t member) {
  members_[member].is_lost = true;
  const std::set<std::size_t> left = std::exchange(members_[member].points, {});
  if (members_[freest()].is_lost) throw RunError("no rank is left to run points");
  for (const std::size_t point : left) add(point);  // to others
}

std::vector<FinishedPoint> Fleet::wait() {
  std::vector<FinishedPoint> finished;
  int milliseconds = 500;
  while (const std::optional<Letter> letter = hear(milliseconds)) {
    take(*letter, finished);
    milliseconds = 0;
    if (finished.size() >= 64) break;
  }
  return finished;
}

}  // namespace moesim
