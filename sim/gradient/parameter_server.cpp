// A parameter server (Li et al., OSDI 2014): ranks send their gradients to one rank of their group, which
// sums them, computes the update and sends the parameters back. Of N ranks it receives (N-1) Psi gradients
// and sends (N-1) Psi parameters through one port; all others together do no more. With a server on each node
// the ranks of a node share one, and the servers sum among each other.
#include "sim/gradient/gradient_sync.hpp"

namespace moesim {
namespace {

std::unique_ptr<const GradientSync> make(Reader& reader) {
  static constexpr std::string_view choices[] = {"one", "per_node"};
  GradientPlan plan = read_gradient_timing(reader);
  plan.updater = Updater::server;
  plan.server_per_node = reader.choice({.name = "servers",
                                        .help = "ranks that update, of those that hold the same parameters",
                                        .fallback = "one"},
                                       choices) == 1;
  return make_gradient_sync(plan);
}

}  // namespace

extern constexpr Entry<GradientSync> parameter_server_gradient_sync{
    "parameter_server", "one rank, or one of each node, updates all and sends the parameters back", make};

}  // namespace moesim
