#include "attention.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "late.hpp"

#ifdef MEASURE_CUDNN
#include "cudnn_graph.hpp"
#endif

namespace measure {

#ifndef MEASURE_CUDNN
struct Attention::Plan {};
AttentionLibrary::AttentionLibrary(cudaStream_t stream) : stream_(stream) {}
AttentionLibrary::~AttentionLibrary() = default;
std::string why_no_cudnn() { return "built without it"; }
long AttentionLibrary::version() { return 0; }
Attention::Attention(const AttentionLibrary&, const Shape&) { throw NotOffered("built without cuDNN"); }
Attention::~Attention() = default;
void Attention::run(const AttentionTensors&) const {}
#else

namespace {

/// (batch, heads, sequence, size) in memory as (batch, sequence, heads, size).
Four stride_of(const Four& size) { return {size[1] * size[2] * size[3], size[3], size[1] * size[3], 1}; }
Four swapped(const Four& f) { return {f[0], f[1], f[3], f[2]}; }

}  // namespace

struct Attention::Plan {
  cudnnHandle_t handle{};
  cudaStream_t stream{};
  Shape shape;
  Graph graph;
  std::unique_ptr<Descriptor> plan;
  Buffer workspace, row_sums, dq_sums;
  float scale = 1, one = 1, lowest = -std::numeric_limits<float>::infinity();
  // Numbers of the tensors in memory.
  Int q = 0, k = 0, v = 0, o = 0, statistics = 0, dq = 0, dk = 0, dv = 0, d_o = 0, sums = 0, dq_sum = 0;
  Int scale_id = 0, one_id = 0, window_id = 0;
  std::vector<Int> lowest_ids;
  bool real_window = false;  ///< whether the window is told as fp32: versions of the library differ in it
  std::int32_t window = 0;
  float window_as_real = 0;

  Four size(Int heads, Int width) const { return {shape.batch, heads, shape.sequence, width}; }
  Four scores() const { return {shape.batch, shape.heads, shape.sequence, shape.sequence}; }
  Four column() const { return {shape.batch, shape.heads, shape.sequence, 1}; }

  const Tensor& scaled_scores(const Tensor& queries, const Tensor& keys, const Tensor& by) {
    const Tensor& product = graph.between(scores());
    graph.multiply(queries, keys, product);
    const Tensor& scaled = graph.between(scores());
    graph.point(CUDNN_POINTWISE_MUL, product, &by, scaled);
    return scaled;
  }
  /// Where `upper` of a row or column is below `lower`, the least score instead.
  const Tensor& where(cudnnPointwiseMode_t holds, const Tensor& upper, const Tensor& lower, const Tensor& x) {
    const Tensor& seen = graph.between(scores(), CUDNN_DATA_BOOLEAN);
    graph.point(holds, upper, &lower, seen, CUDNN_DATA_BOOLEAN);
    const Tensor& low = graph.scalar();
    lowest_ids.push_back(low.id);
    const Tensor& result = graph.between(scores());
    graph.point(CUDNN_POINTWISE_BINARY_SELECT, x, &low, result, CUDNN_DATA_FLOAT, &seen);
    return result;
  }
  const Tensor& index(const Tensor& x, Int axis) {
    const Tensor& place = graph.between(scores(), CUDNN_DATA_INT32);
    graph.point(CUDNN_POINTWISE_GEN_INDEX, x, nullptr, place, CUDNN_DATA_INT32, nullptr, axis);
    return place;
  }
  const Tensor& causal(const Tensor& x) {
    if (!shape.causal) return x;
    const Tensor& row = index(x, 2);
    return where(CUDNN_POINTWISE_CMP_GE, row, index(x, 3), x);
  }
  /// A query sees keys whose place plus the window is beyond its own.
  const Tensor& windowed(const Tensor& x) {
    if (shape.window <= 0) return x;
    const Tensor& row = index(x, 2);
    const Tensor& column = index(x, 3);
    const cudnnDataType_t type = real_window ? CUDNN_DATA_FLOAT : CUDNN_DATA_INT32;
    const Tensor& length = graph.scalar(type);
    window_id = length.id;
    const Tensor& end = graph.between(scores(), type);
    graph.point(CUDNN_POINTWISE_ADD, column, &length, end, type, nullptr, 3);
    return where(CUDNN_POINTWISE_CMP_GT, end, row, x);
  }
  const Tensor& masked(const Tensor& x) { return windowed(causal(x)); }
  void build_forward();
  /// `wide`: whether what stands between products is declared as fp32: versions of the library differ in what
  /// they recognise.
  void build_backward(bool wide_gradient, bool wide_keys);
  void choose();
};

void Attention::Plan::build_forward() {
  const Four qs = size(shape.heads, shape.head_dim), ks = size(shape.kv_heads, shape.head_dim);
  const Four vs = size(shape.kv_heads, shape.value_head_dim), os = size(shape.heads, shape.value_head_dim);
  const Tensor& tq = graph.memory(CUDNN_DATA_BFLOAT16, qs, stride_of(qs));
  const Tensor& tk = graph.memory(CUDNN_DATA_BFLOAT16, swapped(ks), swapped(stride_of(ks)));
  const Tensor& tv = graph.memory(CUDNN_DATA_BFLOAT16, vs, stride_of(vs));
  const Tensor& to = graph.memory(CUDNN_DATA_BFLOAT16, os, stride_of(os));
  const Tensor& ts = graph.memory(CUDNN_DATA_FLOAT, column(), packed(column()));
  const Tensor& by = graph.scalar();
  q = tq.id, k = tk.id, v = tv.id, o = to.id, statistics = ts.id, scale_id = by.id;
  const Tensor& s = masked(scaled_scores(tq, tk, by));
  const Tensor& most = graph.between(column());
  graph.reduce(CUDNN_REDUCE_TENSOR_MAX, s, most);
  const Tensor& below = graph.between(scores());
  graph.point(CUDNN_POINTWISE_SUB, s, &most, below);
  const Tensor& power = graph.between(scores());
  graph.point(CUDNN_POINTWISE_EXP, below, nullptr, power);
  const Tensor& total = graph.between(column());
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, power, total);
  const Tensor& log = graph.between(column());
  graph.point(CUDNN_POINTWISE_LOG, total, nullptr, log);
  graph.point(CUDNN_POINTWISE_ADD, most, &log, ts);
  const Tensor& weights = graph.between(scores(), CUDNN_DATA_BFLOAT16);
  graph.point(CUDNN_POINTWISE_DIV, power, &total, weights);
  graph.multiply(weights, tv, to);
}

void Attention::Plan::build_backward(bool wide_gradient, bool wide_keys) {
  const Four qs = size(shape.heads, shape.head_dim), ks = size(shape.kv_heads, shape.head_dim);
  const Four vs = size(shape.kv_heads, shape.value_head_dim), os = size(shape.heads, shape.value_head_dim);
  const auto bf16 = CUDNN_DATA_BFLOAT16;
  const Tensor& tq = graph.memory(bf16, qs, stride_of(qs));
  const Tensor& tk = graph.memory(bf16, swapped(ks), swapped(stride_of(ks)));
  const Tensor& tv = graph.memory(bf16, swapped(vs), swapped(stride_of(vs)));
  const Tensor& to = graph.memory(bf16, os, stride_of(os));
  const Tensor& tdo = graph.memory(bf16, os, stride_of(os));
  const Tensor& ts = graph.memory(CUDNN_DATA_FLOAT, column(), packed(column()));
  const Tensor& tdq = graph.memory(bf16, qs, stride_of(qs));
  const Tensor& tdk = graph.memory(bf16, ks, stride_of(ks));
  const Tensor& tdv = graph.memory(bf16, vs, stride_of(vs));
  const Tensor& by = graph.scalar();
  const Tensor& unit = graph.scalar();
  q = tq.id, k = tk.id, v = tv.id, o = to.id, d_o = tdo.id, statistics = ts.id, dq = tdq.id, dk = tdk.id,
  dv = tdv.id;
  scale_id = by.id, one_id = unit.id;
  // Row sums of dO * O.
  const Tensor& each =
      graph.between(os, {os[1] * os[2] * os[3], os[2] * os[3], os[1] * os[3], 1}, CUDNN_DATA_FLOAT);
  graph.point(CUDNN_POINTWISE_MUL, tdo, &to, each);
  const Tensor& summed = graph.between(column());
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, each, summed);
  const Tensor& rows = graph.memory(CUDNN_DATA_FLOAT, column(), packed(column()));
  graph.point(CUDNN_POINTWISE_MUL, summed, &unit, rows);
  sums = rows.id;
  // The weights once more.
  const Tensor& s = scaled_scores(tq, tk, by);
  const Tensor& below = graph.between(scores());
  graph.point(CUDNN_POINTWISE_SUB, s, &ts, below);
  const Tensor& seen = masked(below);
  const Tensor& weights = graph.between(scores());
  graph.point(CUDNN_POINTWISE_EXP, seen, nullptr, weights);
  const Four turned = swapped(scores());
  const Four turned_stride = {shape.heads * shape.sequence * shape.sequence, shape.sequence * shape.sequence,
                              1, shape.sequence};
  const auto spread = [&](const Tensor& x, const Tensor& with, const Tensor& gradient, Int width) {
    const Tensor& turn = graph.between(turned, turned_stride, bf16);
    graph.reshape(x, turn);
    if (shape.heads == shape.kv_heads) return graph.multiply(turn, with, gradient);
    const Tensor& full = graph.between(size(shape.heads, width), bf16);
    graph.multiply(turn, with, full);
    graph.reduce(CUDNN_REDUCE_TENSOR_ADD, full, gradient);
  };
  spread(weights, tdo, tdv, shape.value_head_dim);
  // Gradient of the scores.
  const Tensor& dp = graph.between(scores());
  graph.multiply(tdo, tv, dp);
  const Tensor& less = graph.between(scores());
  graph.point(CUDNN_POINTWISE_SUB, dp, &rows, less);
  const Tensor& weighted = graph.between(scores());
  graph.point(CUDNN_POINTWISE_MUL, less, &weights, weighted);
  const Tensor& ds = graph.between(scores(), wide_gradient ? CUDNN_DATA_FLOAT : bf16);
  graph.point(CUDNN_POINTWISE_MUL, weighted, &by, ds);
  spread(ds, tq, tdk, shape.head_dim);
  const Tensor& keys = graph.between(ks, stride_of(ks), wide_keys ? CUDNN_DATA_FLOAT : bf16);
  graph.reshape(tk, keys);
  const Tensor& sum = graph.memory(CUDNN_DATA_FLOAT, qs, packed(qs));
  graph.multiply(ds, keys, sum);
  graph.point(CUDNN_POINTWISE_IDENTITY, sum, nullptr, tdq);
  dq_sum = sum.id;
  const auto count = static_cast<std::size_t>(shape.batch * shape.heads * shape.sequence);
  row_sums = Buffer(count * 4);
  dq_sums = Buffer(count * static_cast<std::size_t>(shape.head_dim) * 4);
}

/// The first engine that the library recommends and that can be finished.
void Attention::Plan::choose() {
  const Descriptor whole = graph.finish(handle);
  Descriptor advice(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  advice.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, whole)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A)
      .finish();
  std::int64_t count = 0;
  check_cudnn(cudnnBackendGetAttribute(advice.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
              "cudnnBackendGetAttribute");
  std::vector<Descriptor> configurations;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i) {
    configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    raw.push_back(configurations.back().raw());
  }
  check_cudnn(cudnnBackendGetAttribute(advice.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, raw.data()),
              "cudnnBackendGetAttribute");
  std::string last = "no engine";
  for (std::int64_t i = 0; i < count; ++i) {
    auto candidate = std::make_unique<Descriptor>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    try {
      candidate->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle)
          .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations[static_cast<std::size_t>(i)])
          .finish();
    } catch (const DeviceError& error) {
      last = error.what();
      continue;
    }
    std::int64_t bytes = 0, one_value = 0;
    check_cudnn(cudnnBackendGetAttribute(candidate->raw(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                         CUDNN_TYPE_INT64, 1, &one_value, &bytes),
                "cudnnBackendGetAttribute");
    workspace = Buffer(static_cast<std::size_t>(bytes));
    plan = std::move(candidate);
    return;
  }
  throw NotOffered("cuDNN has no fused attention for this shape: " + last);
}

AttentionLibrary::AttentionLibrary(cudaStream_t stream) : stream_(stream) {
  cudnnHandle_t handle{};
  check_cudnn(cudnnCreate(&handle), "cudnnCreate");
  handle_ = handle;
  check_cudnn(cudnnSetStream(handle, stream), "cudnnSetStream");
}
AttentionLibrary::~AttentionLibrary() {
  static_cast<void>(cudnnDestroy(static_cast<cudnnHandle_t>(handle_)));
}
long AttentionLibrary::version() { return why_no_cudnn().empty() ? static_cast<long>(cudnnGetVersion()) : 0; }

Attention::Attention(const AttentionLibrary& library, const Shape& shape) {
  std::string reasons;
  const bool backward = shape.pass != "forward";
  for (int variant = 0; variant < 8; ++variant) {
    // What the library may recognise: three choices, of which the last two are those of backward.
    const bool real_window = variant >= 4, wide_gradient = variant % 4 < 2,
               wide_keys = variant % 4 == 0 || variant % 4 == 3;
    if (!backward && variant % 4 != 0) continue;
    if (shape.window == 0 && real_window) continue;
    plan_ = std::make_unique<Plan>();
    plan_->handle = static_cast<cudnnHandle_t>(library.handle_);
    plan_->stream = library.stream_;
    plan_->shape = shape;
    plan_->real_window = real_window;
    plan_->window = static_cast<std::int32_t>(shape.window);
    plan_->window_as_real = static_cast<float>(shape.window);
    plan_->scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
    try {
      backward ? plan_->build_backward(wide_gradient, wide_keys) : plan_->build_forward();
      plan_->choose();
      return;
    } catch (const OutOfMemory&) {
      throw;
    } catch (const DeviceError& error) {
      reasons = error.what();
    }
  }
  throw NotOffered(reasons);
}
Attention::~Attention() = default;

void Attention::run(const AttentionTensors& t) const {
  Plan& p = *plan_;
  std::vector<std::int64_t> ids{p.q, p.k, p.v, p.o, p.statistics, p.scale_id};
  std::vector<void*> data{t.q, t.k, t.v, t.o, t.statistics, &p.scale};
  const auto add = [&](Int id, void* pointer) {
    ids.push_back(id);
    data.push_back(pointer);
  };
  for (const Int id : p.lowest_ids) add(id, &p.lowest);
  if (p.shape.window > 0) add(p.window_id, p.real_window ? static_cast<void*>(&p.window_as_real) : &p.window);
  if (p.shape.pass != "forward") {
    add(p.d_o, t.d_o), add(p.dq, t.dq), add(p.dk, t.dk), add(p.dv, t.dv), add(p.one_id, &p.one);
    add(p.sums, p.row_sums.get()), add(p.dq_sum, p.dq_sums.get());
    check(cudaMemsetAsync(p.dq_sums.get(), 0, p.dq_sums.size(), p.stream), "cudaMemsetAsync");
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, data)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, p.workspace.get())
      .finish();
  check_cudnn(cudnnBackendExecute(p.handle, p.plan->raw(), pack.raw()), "cudnnBackendExecute");
}

#endif

}  // namespace measure
