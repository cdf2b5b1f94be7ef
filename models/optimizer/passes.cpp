#include "models/optimizer/passes.hpp"

#include <cmath>

#include "models/config/fields.hpp"

namespace moesim {
namespace {

constexpr std::string_view walk_names[] = {"fused", "foreach", "for_loop"};
constexpr double fp32 = 4, bf16 = 2;

double bytes_of(Precision precision) { return static_cast<double>(size_of(precision).count); }
Bytes whole(double bytes) { return Bytes{std::llround(bytes)}; }

}  // namespace

OptimizerKeys read_optimizer_keys(Reader& reader) {
  using Keys = OptimizerKeys;
  Keys keys;
  Precision moments = Precision::fp32;
  read_fields(reader, keys,
              field(&Keys::master, {.name = "master",
                                    .help = "master weights in fp32, which the optimizer changes; without, "
                                            "it changes the parameters in bf16",
                                    .fallback = true}));
  const std::size_t chosen =
      reader.choice({.name = "moments",
                     .help = "format of the states; not given it is that of precision.moments",
                     .fallback = "fp32"},
                    whole_byte_names);
  moments = static_cast<Precision>(chosen);
  if (reader.has("moments")) keys.moments = moments;
  read_fields(reader, keys,
              choice(&Keys::walk, walk_names,
                     {.name = "implementation",
                      .help = "one kernel for many tensors, a kernel for each step of the mathematics over "
                              "many tensors, or one for each step and tensor",
                      .fallback = "fused"}),
              field(&Keys::clip, {.name = "clip",
                                  .help = "gradients are measured and scaled to a norm before",
                                  .fallback = false}),
              field(&Keys::offload,
                    {.name = "offload",
                     .help = "states and master weights lie in the host's memory but for the update: they "
                             "come before it and leave beside the next step's forward, at "
                             "cluster.device.host_rate",
                     .fallback = false}));
  return keys;
}

PlanMaker::PlanMaker(const OptimizerKeys& keys, const UpdateForm& form)
    : walk_(keys.walk),
      master_(keys.master && form.parameter != Precision::fp32),
      casts_inside_(form.casts_inside && keys.walk == Walk::fused),
      parameter_(master_ ? fp32 : bytes_of(form.parameter)),
      gradient_(bytes_of(form.gradient)),
      state_(bytes_of(keys.moments.value_or(form.moments))) {
  plan_.walk = walk_;
  plan_.has_master = master_;
  plan_.offloads = keys.offload;
  if (master_) plan_.states = {.matrices = whole(fp32), .rest = whole(fp32), .factors = {}};
  // torch/nn/utils/clip_grad.py: clip_grad_norm_ goes over lists unless it is told otherwise.
  if (keys.clip) {
    add("norm of the gradients", Over::all, gradient_, UpdateStep::sum);
    add("gradients to their norm", Over::all, 2 * gradient_, UpdateStep::scale);
  }
  if (!master_ || casts_inside_ || gradient_ == fp32) return;
  each("gradients in fp32", Over::all, gradient_ + fp32, UpdateStep::widen);
  plan_.working.all = whole(fp32);
  gradient_ = fp32;
}

PlanMaker& PlanMaker::add(std::string_view name, Over over, double bytes, UpdateStep step) {
  const bool is_one_of_several = walk_ == Walk::fused && step != UpdateStep::whole;
  plan_.passes.push_back({.name = name,
                          .over = over,
                          .bytes = bytes,
                          .step = step,
                          .walk = is_one_of_several ? Walk::lists : walk_});
  return *this;
}

PlanMaker& PlanMaker::each(std::string_view name, Over over, double bytes, UpdateStep step) {
  plan_.passes.push_back({.name = name, .over = over, .bytes = bytes, .step = step, .walk = Walk::tensors});
  return *this;
}

PlanMaker& PlanMaker::and_small(std::int64_t launches) {
  plan_.passes.back().small += launches;
  return *this;
}

PlanMaker& PlanMaker::is_read() {
  plan_.passes.back().waits = 1;
  return and_small(1);
}

/// Steps and temporaries of torch/optim/adam.py (_multi_tensor_adam, _single_tensor_adam with decoupled
/// weight decay): parameters decay, both moments, the root of the second, divided, and more than zero.
PlanMaker& PlanMaker::adamw(Over over) {
  const double g = gradient_, p = parameter_, m = state_;
  holds(over, 2 * m);
  if (walk_ == Walk::fused) return add("AdamW", over, g + 2 * p + 4 * m + copy(), UpdateStep::whole);
  add("weight decay", over, 2 * p).add("first moment", over, g + 2 * m);
  add("second moment decays", over, 2 * m).add("second moment", over, g + 2 * m);
  add("root", over, 2 * m).add("bias correction", over, 2 * m).add("epsilon", over, 2 * m);
  return add("parameters", over, 2 * p + 2 * m).works_with(m, 2 * m);
}

PlanMaker& PlanMaker::holds(Over over, double bytes) {
  if (over != Over::rest) plan_.states.matrices += whole(bytes);
  if (over != Over::matrices) plan_.states.rest += whole(bytes);
  return *this;
}

PlanMaker& PlanMaker::works_with(double of_lists, double of_tensors) {
  if (walk_ == Walk::lists) plan_.working.all += whole(of_lists);
  if (walk_ == Walk::tensors) plan_.working.largest += whole(of_tensors);
  return *this;
}

PlanMaker& PlanMaker::iterates(std::int64_t count) {
  plan_.iterations = count;
  return *this;
}

PlanMaker& PlanMaker::factors(double bytes) {
  plan_.states.factors = whole(bytes);
  return *this;
}

UpdatePlan PlanMaker::plan() {
  if (master_ && !casts_inside_) {
    add("parameters in bf16", Over::all, fp32 + bf16);
    plan_.passes.back().is_copy = true;
  }
  return std::move(plan_);
}

}  // namespace moesim
