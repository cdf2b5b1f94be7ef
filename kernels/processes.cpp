#include "processes.hpp"

#include <filesystem>

#include "library.hpp"
#include "options.hpp"

namespace measure {
namespace {

constexpr const char* plugin = "moesim-measure-mpi.so";

/// From the library beside this program. What it needs is for all to see: MPI loads further parts of itself.
std::unique_ptr<const Companions> companions_by_mpi() {
  const std::string file = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / plugin).string();
  const Library library(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  const auto join = library.find<Companions*()>("moesim_measure_join");
  if (join != nullptr) return std::unique_ptr<const Companions>(join());
  throw Missing(
      "--mpi: " + (library.problem().empty() ? file + " is of another version" : library.problem()) + " (" +
      plugin + " stands beside this program where it was built with MPI)");
}

}  // namespace

Processes::Processes(bool mpi) : companions_(mpi ? companions_by_mpi() : nullptr) {
  if (companions_ == nullptr) return;
  rank_ = companions_->rank();
  const std::vector<int>& firsts = companions_->first_on_node();
  nodes_ = 0;
  node_of_.clear();
  for (std::size_t i = 0; i < firsts.size(); ++i) {
    const auto first = static_cast<std::size_t>(firsts[i]);
    node_of_.push_back(first == i ? nodes_++ : node_of_[first]);
  }
  for (int other = 0; other < rank_; ++other) local_ += node_of(other) == node_of(rank_) ? 1 : 0;
}

void Processes::abandon(int code) const {
  if (companions_ != nullptr) companions_->abandon(code);
}

void Processes::wait() const {
  if (companions_ != nullptr) companions_->wait();
}

double Processes::largest(double value) const {
  return companions_ != nullptr ? companions_->largest(value) : value;
}

void Processes::share(void* data, std::size_t bytes) const {
  if (companions_ != nullptr) companions_->share(data, bytes);
}

}  // namespace measure
