#include "sim/run/in_parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace moesim {

void in_parallel(std::size_t count, unsigned jobs,
                 const std::function<void(std::size_t piece, std::size_t thread)>& work) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::exception_ptr> broken(count);
  const auto loop = [&](std::size_t thread) {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        work(i, thread);
      } catch (...) {
        broken[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < std::min<std::size_t>(std::max(1U, jobs), count); ++t)
      others.emplace_back(loop, t);
    loop(0);
  }
  for (const std::exception_ptr& mistake : broken) {
    if (mistake) std::rethrow_exception(mistake);
  }
}

}  // namespace moesim
