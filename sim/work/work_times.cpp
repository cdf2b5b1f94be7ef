#include "sim/work/work_times.hpp"

#include <algorithm>
#include <cmath>

#include "models/cost/power.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

BlockTimes several(BlockTimes one, std::int64_t count) {
  for (Timed& timed : one.passes) {
    timed.time = timed.time * count;
    const HostPath each = timed.host;
    timed.host = {};
    for (std::int64_t i = 0; i < count; ++i) timed.host += each;
  }
  return one;
}

BlockTimes sum(BlockTimes a, const BlockTimes& b) {
  for (std::size_t pass = 0; pass < a.passes.size(); ++pass) {
    const Timed& more = b.passes[pass];
    if (more.time.count == 0) continue;
    Timed& timed = a.passes[pass];
    const double own = to_seconds(timed.time), others = to_seconds(more.time);
    const double contended = own * timed.slowdown + others * more.slowdown;
    const double lost = own * (timed.communication - 1) + others * (more.communication - 1);
    timed.time += more.time;
    timed.communication = 1 + lost / to_seconds(timed.time);
    timed.host += more.host;
    timed.slowdown = std::max(1.0, contended / to_seconds(timed.time));
  }
  return a;
}

Time repeated(Time once, double times) { return times == 1 ? once : from_seconds(to_seconds(once) * times); }

/// Whether an op is the next kernel of the same attention core.
bool continues(const Op& op, const Op& next) {
  return next.kind == OpKind::attention && next.core == op.core && next.pass == op.pass;
}

/// A kernel for each block of keys, or else kernels whose work is even over blocks.
std::vector<Timed> ring_blocks(const std::vector<Op>& kernels, const Timed& whole, const Scenario& scenario) {
  const std::int64_t count = scenario.layout.sizes().context;
  std::vector<Timed> blocks;
  if (static_cast<std::int64_t>(kernels.size()) == count) {
    for (const Op& kernel : kernels) blocks.push_back(time_of({kernel}, scenario));
    return blocks;
  }
  blocks.assign(static_cast<std::size_t>(count),
                {whole.time / count, whole.slowdown, whole.communication, whole.host.part_of(count)});
  blocks.back().time = whole.time - whole.time / count * (count - 1);
  return blocks;
}

Piece core_of(const std::vector<Op>& kernels, const Scenario& scenario) {
  Piece core{.timed = time_of(kernels, scenario),
             .keys_and_values = keys_and_values(kernels.front(), scenario),
             .backward = kernels.front().pass != OpPass::forward};
  if (scenario.context_exchange == ContextExchange::ring)
    core.blocks = ring_blocks(kernels, core.timed, scenario);
  return core;
}

/// For each layer, the first one of the same shape to which as many rows go.
std::vector<std::size_t> first_alike(const Scenario& scenario, const ExpertLoads* loads) {
  const std::vector<std::size_t> shapes = first_of_shape(scenario);
  std::vector<std::size_t> first;
  for (std::size_t layer = 0; layer < shapes.size(); ++layer) {
    const std::int64_t rows = dispatched_rows(scenario, layer, loads);
    std::size_t same = shapes[layer];
    while (shapes[same] != shapes[layer] || dispatched_rows(scenario, same, loads) != rows) ++same;
    first.push_back(same);
  }
  return first;
}

}  // namespace

Timed without(const Timed& block, const Timed& part) {
  if (part.time.count == 0) return block;
  Timed rest{.time = std::max(Time{}, block.time - part.time), .host = block.host};
  const double seconds = to_seconds(rest.time), whole = to_seconds(block.time), less = to_seconds(part.time);
  if (seconds == 0) return rest;
  rest.slowdown = std::max(1.0, (whole * block.slowdown - less * part.slowdown) / seconds);
  const double lost = whole * (block.communication - 1) - less * (part.communication - 1);
  rest.communication = std::max(1.0, 1 + lost / seconds);
  return rest;
}

BlockTimes times_of_shared_experts(const Scenario& scenario, std::size_t layer) {
  BlockTimes times{};
  const bool is_exchanged = scenario.layout.sizes().expert > 1 && scenario.layout.sizes().tensor == 1;
  if (scenario.collectives.shared_experts == SharedExperts::in_turn || !is_exchanged) return times;
  times = times_of(shared_experts_of_layer(scenario, layer), scenario);
  for (Timed& timed : times.passes) timed.host = {};
  return times;
}

std::int64_t parts_of_product(TensorCall beside, const Scenario& scenario) {
  constexpr std::int64_t parts_of_sum = 4;
  return beside == TensorCall::before ? scenario.layout.sizes().tensor : parts_of_sum;
}

Op part_of_product(const Op& product, const Scenario& scenario) {
  const std::int64_t parts = parts_of_product(product.tensor_call, scenario);
  const Op part = make_gemm(product.name, product.pass, (product.m + parts - 1) / parts, product.n, product.k,
                            product.precision);
  Op of_product = product;
  of_product.m = part.m;
  of_product.flops = part.flops;
  of_product.bytes = part.bytes;
  return of_product;
}

namespace {

/// What cuts a block in a pass.
enum class Cut : std::uint8_t { none, core, product };

Cut cut_at(const Op& op, OpPass pass, const Scenario& scenario) {
  if (op.kind == OpKind::attention && scenario.layout.sizes().context > 1) return Cut::core;
  const bool runs_in_parts =
      op.tensor_call != TensorCall::none && op.pass == pass && scenario.splits_products();
  return runs_in_parts ? Cut::product : Cut::none;
}

Piece product_of(const Op& product, const Scenario& scenario) {
  const Timed part = time_of({part_of_product(product, scenario)}, scenario);
  const auto parts = static_cast<std::size_t>(parts_of_product(product.tensor_call, scenario));
  Piece piece{.timed = part,
              .keys_and_values = {},
              .blocks = std::vector<Timed>(parts, part),
              .tensor_call = product.tensor_call};
  const HostTimes& host = scenario.habits().host;
  for (std::size_t i = 1; i < parts && !host.is_none(); ++i)
    piece.blocks[i].host = HostPath::of_launches(1, host.part, part.time);
  return piece;
}

}  // namespace

std::vector<Piece> pieces_of(const std::vector<Op>& ops, OpPass pass, const Scenario& scenario) {
  std::vector<Piece> pieces;
  for (std::size_t next = 0; next < ops.size();) {
    const Cut cut = cut_at(ops[next], pass, scenario);
    std::vector<Op> of_piece{ops[next++]};
    if (cut == Cut::product) {
      pieces.push_back(product_of(of_piece.front(), scenario));
      continue;
    }
    while (next < ops.size() && (cut == Cut::core ? continues(of_piece.back(), ops[next])
                                                  : cut_at(ops[next], pass, scenario) == Cut::none))
      of_piece.push_back(ops[next++]);
    pieces.push_back(cut == Cut::core ? core_of(of_piece, scenario)
                                      : Piece{.timed = time_of(of_piece, scenario), .keys_and_values = {}});
  }
  return pieces;
}

BlockPieces pieces_of(const BlockOps& ops, const Scenario& scenario) {
  const auto is_cut = [&](const std::vector<Op>& list, OpPass pass) {
    return std::any_of(list.begin(), list.end(),
                       [&](const Op& op) { return cut_at(op, pass, scenario) != Cut::none; });
  };
  if (!is_cut(ops.forward, OpPass::forward) && !is_cut(ops.backward_input, OpPass::backward_input)) return {};
  return {pieces_of(ops.forward, OpPass::forward, scenario),
          pieces_of(ops.backward_input, OpPass::backward_input, scenario),
          pieces_of(ops.backward_weight, OpPass::backward_weight, scenario)};
}

namespace {

/// So many times.
HostPath path_of(const Op& kernel, Time time, double times, const HostTimes& host) {
  const std::int64_t count = std::max<std::int64_t>(1, std::llround(times));
  const Time each = kernel.calls < 0 ? host.of(kernel) : host.of(kernel) * kernel.calls / kernel.kernels;
  const std::int64_t waits = kernel.waits_in_call ? 0 : kernel.waits;
  if (each.count == 0 && waits == 0) return {.device = time * count};
  HostPath path = HostPath::of_launches(kernel.kernels * count, each, time * count);
  for (std::int64_t wait = 0; wait < waits * count; ++wait) path += HostPath::of_wait(host.wait);
  return path;
}

}  // namespace

void OpSum::begin_block(const Scenario& scenario) {
  const Time block = scenario.habits().host.block;
  if (block.count > 0) path_ += HostPath{.issue = block};
}

namespace {

/// An update draws less than what is held, and is no part of the mean that holds the clock down before it.
double clock_of(const Op& kernel, const Scenario& scenario) {
  return kernel.kernel_class == KernelClass::update ? 1 : scenario.clock;
}

}  // namespace

void OpSum::add(const Op& op, const Scenario& scenario, double times) {
  const Device& device = scenario.cluster->device;
  const Held held = scenario.collectives.held();
  const HostTimes& host = scenario.habits().host;
  std::vector<Op> kernels;
  scenario.software->add_kernels(op, kernels);
  for (const Op& kernel : kernels) {
    const double clock = clock_of(kernel, scenario);
    const Time once = scenario.cost->time(kernel, device, {0, clock}).time;
    at(parts_, op.part) += repeated(once, times);
    const Time gaps = std::min(once, device.launch_overhead * kernel.kernels);
    at(classes_, KernelClass::host).time += times * to_seconds(gaps);
    ClassShare& of_class = at(classes_, kernel.kernel_class);
    of_class.time += times * to_seconds(once - gaps);
    of_class.bytes += times * static_cast<double>(kernel.bytes.count) * kernel.passes;
    of_class.launches += times * static_cast<double>(kernel.kernels);
    of_class.joules += times * drawn(kernel, once, device, clock).count;
    const double slowed = beside_communication(device, beside_of(kernel), held).communication;
    lost_ += times * to_seconds(once - gaps) * (slowed - 1);
    contended_ += repeated(
        held.multiprocessors == 0 ? once : scenario.cost->time(kernel, device, {held, clock}).time, times);
    if (!host.is_none()) path_ += path_of(kernel, once, times, host);
  }
}

Timed OpSum::timed() const {
  const Time time = alone();
  if (time.count == 0) return {.time = time, .host = path_};
  return {.time = time,
          .slowdown = std::max(1.0, contended_ / time),
          .communication = 1 + lost_ / to_seconds(time),
          .host = path_};
}

PassShares OpSum::shares(LayerPart block) const {
  PassShares shares{.classes = classes_};
  const Time all = alone();
  if (all.count == 0) at(shares.parts, block) = 1;
  for (std::size_t part = 0; all.count > 0 && part < layer_part_count; ++part)
    shares.parts[part] = parts_[part] / all;
  for (ClassShare& of_class : shares.classes) of_class.time /= std::max(1e-12, to_seconds(all));
  return shares;
}

OpSum& OpSum::operator+=(const OpSum& more) {
  for (std::size_t part = 0; part < layer_part_count; ++part) parts_[part] += more.parts_[part];
  contended_ += more.contended_;
  lost_ += more.lost_;
  path_ += more.path_;
  for (std::size_t i = 0; i < kernel_class_count; ++i) {
    classes_[i].time += more.classes_[i].time;
    classes_[i].bytes += more.classes_[i].bytes;
    classes_[i].launches += more.classes_[i].launches;
    classes_[i].joules += more.classes_[i].joules;
  }
  return *this;
}

namespace {

OpSum sum_of(const std::vector<Op>& ops, const Scenario& scenario) {
  OpSum sum;
  if (!ops.empty()) sum.begin_block(scenario);
  for (const Op& op : ops) sum.add(op, scenario);
  return sum;
}

/// By passes of OpPass.
using BlockSums = std::array<OpSum, 3>;

BlockSums sums_of(const BlockOps& ops, const Scenario& scenario) {
  return {sum_of(ops.forward, scenario), sum_of(ops.backward_input, scenario),
          sum_of(ops.backward_weight, scenario)};
}

BlockTimes times_of(const BlockSums& sums) {
  return {.passes = {sums[0].timed(), sums[1].timed(), sums[2].timed()}};
}

BlockShares shares_of(const BlockSums& sums, LayerPart block) {
  return {sums[0].shares(block), sums[1].shares(block), sums[2].shares(block)};
}

}  // namespace

Timed time_of(const std::vector<Op>& ops, const Scenario& scenario) { return sum_of(ops, scenario).timed(); }

BlockTimes head_times(const Scenario& scenario, const BlockTimes& head, const BlockTimes& embedding) {
  const std::int64_t predictions = scenario.model.prediction_layers;
  return sum(several(head, 1 + predictions), several(embedding, predictions));
}

BlockTimes times_of(const BlockOps& ops, const Scenario& scenario) {
  return times_of(sums_of(ops, scenario));
}

WorkTimes::WorkTimes(const Scenario& scenario, const ExpertLoads* loads)
    : shape_of_layer_(first_alike(scenario, loads)) {
  shapes_.resize(shape_of_layer_.size());
  shares_.resize(shape_of_layer_.size());
  for (std::size_t layer = 0; layer < shapes_.size(); ++layer) {
    if (shape_of_layer_[layer] != layer) continue;
    const LayerOps ops = ops_of_layer(scenario, layer, loads);
    const BlockSums attention = sums_of(ops.attention, scenario);
    const BlockSums feed_forward = sums_of(ops.feed_forward, scenario);
    shapes_[layer] = {.attention = times_of(attention),
                      .feed_forward = times_of(feed_forward),
                      .pieces = pieces_of(ops.attention, scenario),
                      .feed_forward_pieces = pieces_of(ops.feed_forward, scenario),
                      .shared_experts = times_of_shared_experts(scenario, layer)};
    shares_[layer] = {shares_of(attention, LayerPart::attention),
                      shares_of(feed_forward, LayerPart::feed_forward)};
  }
  const Share share = share_of(scenario);
  const BlockSums embedding = sums_of(lower_embedding(scenario.model, share), scenario);
  embedding_ = times_of(embedding);
  embedding_shares_ = shares_of(embedding, LayerPart::attention);
  BlockSums head = sums_of(lower_head(scenario.model, share, scenario.habits().fused_loss), scenario);
  head_ = head_times(scenario, times_of(head), embedding_);
  const BlockSums own = head;
  for (std::int64_t more = 0; more < scenario.model.prediction_layers; ++more) {
    for (std::size_t pass = 0; pass < head.size(); ++pass) (head[pass] += own[pass]) += embedding[pass];
  }
  head_shares_ = shares_of(head, LayerPart::attention);
}

void BesideCompute::add(const BlockTimes& block) {
  for (const Timed& timed : block.passes) {
    time_ += to_seconds(timed.time);
    lost_ += to_seconds(timed.time) * (timed.communication - 1);
  }
}

double WorkTimes::communication_slowdown() const {
  BesideCompute all;
  all.add(embedding_);
  all.add(head_);
  for (const std::size_t shape : shape_of_layer_) {
    all.add(shapes_[shape].attention);
    all.add(shapes_[shape].feed_forward);
  }
  return all.mean();
}

Time WorkTimes::of_model(OpPass pass) const {
  Time sum = embedding_.in(pass).time + head_.in(pass).time;
  for (const std::size_t shape : shape_of_layer_) {
    sum += shapes_[shape].attention.in(pass).time + shapes_[shape].feed_forward.in(pass).time;
  }
  return sum;
}

}  // namespace moesim
