// What the host takes to issue kernels, read from the keys of a software.
#pragma once

#include "models/config/reader.hpp"
#include "models/software/software.hpp"

namespace moesim {

/// Of torch.distributed.pipelining where it computes weight gradients apart (stage_backward_input,
/// stage_backward_weight): it walks the graph for the weights, and calls autograd once for each. Forward and
/// backward of four blocks of nine weights take the host 21.5 ms with passes apart and 12.2 ms without, which
/// have the same launches: 259 us a weight, of which a quarter is in the pass of input gradients and counted
/// with the rest. Two blocks, of which the device hides what the host takes without, have at least 240 us
/// (configs/validation/software-h200.json: "pipelines_ms, blocks of 2048", alone; "stacks").
inline constexpr Time usual_host_weight{260'000'000};

/// A CUDA graph of 500 kernels on a host of one H200 (configs/validation/software-h200.json, "host": "graph"
/// and "issue"): a launch as any other, and so much for each kernel in it.
inline constexpr Time graph_launch{9'400'000}, graph_kernel{228'000};

/// Reads the keys "host_..." of a software; without them it takes what is usual.
HostTimes read_host_times(Reader& reader, const HostTimes& usual);

/// Of a host that launches a whole iteration at once.
HostTimes of_one_graph(const HostTimes& host);

/// Reads the keys "host_..." and "cuda_graphs" of a software; without them it takes what is usual.
HostTimes read_host(Reader& reader, const HostTimes& usual);

}  // namespace moesim
