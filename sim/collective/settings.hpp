// What collectives have in common: the keys of their software, the longest way in a group, sends to all.
#pragma once

#include <span>

#include "sim/collective/collective.hpp"

namespace moesim {

/// Overheads of a communication library.
struct CollectiveSettings {
  Time startup;           ///< launch and first synchronisation, once a communication
  double efficiency = 1;  ///< share of the links' rates that its protocol reaches
};

/// Reads "startup" and "efficiency" with the given defaults.
CollectiveSettings read_collective_settings(Reader& reader, const CollectiveSettings& defaults);

/// The highest latency between a device of the group and any other of it.
Time longest_latency(std::span<const DeviceId> group, const Fabric& fabric);

/// An all-to-all as sends of every rank to every other at once, after the longest way in the group; a token's
/// row goes to a rank as often as it has experts there, or `once`.
Traffic sends_to_all(const Request& request, const Fabric& fabric, bool once = false);

/// Throws InputError: `algorithm` does not do the operation of the request.
[[noreturn]] void refuse(std::string_view algorithm, Operation operation, std::string_view known);

}  // namespace moesim
