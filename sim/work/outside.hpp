// Device memory that no tensor holds.
#pragma once

#include <vector>

#include "models/base/units.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// What a process has of a device's memory beside its tensors.
struct OutsideTensors {
  Bytes driver;    ///< the driver's context and the code of kernels
  Bytes channels;  ///< buffers through which communicators send
  Bytes total() const { return driver + channels; }
};

/// Whose communicators: a way to divide the model and a way to synchronise, which a search varies.
struct Communicating {
  const Layout& layout;
  const GradientPlan& plan;
  bool is_bidirectional = false;  ///< two pipeline ranks hold each stage
  bool sums_embedding = false;    ///< the first and the last pipeline rank hold copies of one embedding
};

/// A communicator has a buffer for each channel and neighbour, one end to receive into and one to send from
/// (NCCL, src/transport/p2p.cc: `Device::channel_buffer`). Neighbours are those before and after in a ring,
/// and for an all-reduce those above and below in a tree too, whatever the size of the group; single sends
/// need one for each peer. Communicators are those of the simulated groups and one of all devices, whose
/// all-reduces are small. An exchange by `hierarchical` has the buffers of DeepEP instead
/// (csrc/legacy/config.hpp, with deep_ep/buffers/legacy.py's recommendations).
OutsideTensors outside_tensors(const Scenario& scenario, const Communicating& communicating);

/// Of the scenario as it is.
OutsideTensors outside_tensors(const Scenario& scenario);

}  // namespace moesim
