// SimGrid's face for one graph: links, hosts, and the activities on them. For simgrid.cpp alone.
#pragma once

#include <fmt/format.h>
#include <simgrid/kernel/resource/Action.hpp>
#include <simgrid/kernel/resource/Model.hpp>
#include <simgrid/kernel/routing/NetZoneImpl.hpp>
#include <simgrid/s4u.hpp>

#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

namespace s4u = simgrid::s4u;
using simgrid::kernel::resource::Action;
using simgrid::kernel::resource::Model;
using simgrid::kernel::resource::StandardLinkImpl;
using simgrid::kernel::routing::NetPoint;
using simgrid::kernel::routing::NetZoneImpl;
using simgrid::kernel::routing::Route;

/// A zone whose only route is the one it was told last.
class Zone final : public NetZoneImpl {
 public:
  Zone() : NetZoneImpl("fabric") {}
  std::vector<StandardLinkImpl*> route;

 private:
  void get_local_route(const NetPoint*, const NetPoint*, Route* into, double*) override {
    into->link_list_ = route;
  }
};

/// SimGrid with neutral settings: rates are as given, nothing is corrected for a protocol.
inline s4u::Engine* start_simgrid() {
  static char name[] = "moesim", quiet[] = "--log=root.thres:error";
  static char* arguments[] = {name, quiet, nullptr};
  int count = 2;
  auto* const engine = new s4u::Engine(&count, arguments);  // the process ends before it could be deleted
  for (const char* setting : {"network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:1e30",
                              "surf/precision:1e-12", "maxmin/precision:1e-9"}) {
    s4u::Engine::set_config(setting);
  }
  return engine;
}

/// Links and hosts for a graph, and the activities on them.
class Platform {
 public:
  explicit Platform(const TaskGraph& graph) : engine_(start_simgrid()), zone_(new Zone) {
    s4u::NetZone& zone = *zone_->get_iface();
    const auto host = [&](const std::string& name) {
      return zone.create_host(name, 1.0)->set_core_count(1 << 20)->seal();
    };
    from_ = host("from");
    to_ = host("to");
    for (ActorId actor = 0; actor < graph.actor_count; ++actor) hosts_.push_back(host(fmt::to_string(actor)));
    for (std::size_t i = 0; i < graph.capacities.size(); ++i) {
      links_.push_back(zone.create_link(fmt::format("link {}", i), graph.capacities[i].count)
                           ->set_latency(0)
                           ->seal()
                           ->get_impl());
    }
    zone.seal();
    for (Model* model : engine_->get_all_models()) {
      if (model->get_name() == "Network_CM02") network_ = model;
      if (model->get_name() == "Cpu_Cas01") processors_ = model;
    }
    ensure(network_ != nullptr && processors_ != nullptr, "SimGrid has the models that it was asked for");
  }

  static double now() { return s4u::Engine::get_clock(); }
  void run() { engine_->run(); }

  /// Starts a flow of `bytes` bytes over the links that `add_to_route` named since the last flow.
  s4u::ActivityPtr start_flow(double bytes, void* data, Action*& action) {
    const s4u::CommPtr flow = s4u::Comm::sendto_init(from_, to_);
    flow->set_payload_size(1);
    flow->set_data(data);
    flow->start();
    zone_->route.clear();
    action = &network_->get_started_action_set()->back();
    ensure(action->get_activity() == flow->get_impl(), "what SimGrid started last is the flow");
    action->set_cost(bytes);  // a payload is whole bytes, and ours need not be
    action->set_remains(bytes);
    return flow;
  }
  void add_to_route(std::uint32_t resource, std::int64_t times) {
    zone_->route.insert(zone_->route.end(), static_cast<std::size_t>(times), links_[resource]);
  }

  /// Starts what takes `seconds` at full speed; `nothing` for an actor is none of the graph's.
  s4u::ActivityPtr start_work(ActorId actor, double seconds, void* data, Action*& action) {
    const s4u::ExecPtr work = s4u::Exec::init();
    work->set_flops_amount(seconds);
    work->set_host(actor == nothing ? from_ : hosts_[actor]);
    work->set_data(data);
    work->start();
    action = &processors_->get_started_action_set()->back();
    ensure(action->get_activity() == work->get_impl(), "what SimGrid started last is the work");
    return work;
  }

 private:
  s4u::Engine* engine_;
  Zone* zone_;  // SimGrid's
  Model* network_ = nullptr;
  Model* processors_ = nullptr;
  s4u::Host *from_ = nullptr, *to_ = nullptr;
  std::vector<s4u::Host*> hosts_;
  std::vector<StandardLinkImpl*> links_;
};

}  // namespace moesim
