// Independent pieces of work on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace moesim {

/// Calls work(0) .. work(count - 1), each once, `jobs` at a time (one where it is 0); `work` also gets the
/// number of its thread. All pieces run even where some throw; then the exception of the first of them is
/// thrown.
void in_parallel(std::size_t count, unsigned jobs,
                 const std::function<void(std::size_t piece, std::size_t thread)>& work);

}  // namespace moesim
