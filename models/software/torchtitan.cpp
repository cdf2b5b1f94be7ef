// torchtitan: blocks compiled one by one, the loss compiled and in chunks (pytorch/torchtitan,
// torchtitan/distributed/compile.py; components/loss.py, ChunkedLossWrapper; config_registry.py of its
// models), or all of it eager (torch_blocks.hpp). How parameters and gradients are shared is the scenario's
// gradient_sync.
#include <algorithm>
#include <memory>

#include "models/config/fields.hpp"
#include "models/software/host.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/torch_blocks.hpp"

namespace moesim {
namespace {

using namespace literals;

struct Choices {
  pytorch::BlockChoices blocks;
  bool compile = true;
  std::int64_t loss_chunks = 8;
};

/// Whether an op is of the head and its loss, behind the last norm.
bool is_of_loss(const Op& op) { return op.module == Module::loss || op.name == "head projection"; }

/// So many rows of an op; of a weight's gradient, of its depth.
Op rows_of(const Op& op, std::int64_t rows) {
  if (op.kind != OpKind::gemm) {
    Op part = op;
    part.m = rows;
    part.bytes = scaled(op.bytes, static_cast<double>(rows) / static_cast<double>(op.m));
    return part;
  }
  const bool is_weight = op.pass == OpPass::backward_weight;
  Op part = make_gemm(op.name, op.pass, is_weight ? op.m : rows, op.n, is_weight ? rows : op.k, op.precision);
  part.part = op.part;
  // Written in bf16 where fused software reads and writes a sum in fp32.
  if (is_weight) part.bytes -= Bytes{6} * op.m * op.n;
  return part;
}

/// What chunks cost: gradients of the hidden state come together in fp32 (GradAccumulator), those of the
/// head's matrix are added up.
void add_sums_of_chunks(const Op& op, std::int64_t chunks, std::vector<Op>& kernels) {
  namespace kind = pytorch::kind;
  pytorch::Kernels k(op, kernels);
  if (op.module == Module::loss || op.pass == OpPass::forward) return;
  if (op.pass == OpPass::backward_input) {
    k.all(kind::fill_fp32, 4);
    for (std::int64_t i = 0; i < chunks; ++i) {
      const double part = k.elements() / static_cast<double>(chunks);
      k.add(kind::widened, part, 6).add(kind::copy, part, 8);
    }
    k.all(kind::vectorised, 6);
    return;
  }
  for (std::int64_t i = 1; i < chunks; ++i) k.all(kind::vectorised, 6);
}

class Torchtitan final : public Software {
 public:
  Torchtitan(const Choices& choices, const HostTimes& host)
      : choices_(choices), library_(pytorch::library_of_models()), habits_(library_->habits()) {
    habits_.has_fp8 = true;
    habits_.host = host;
  }

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    const bool is_weight = op.kind == OpKind::gemm && op.pass == OpPass::backward_weight;
    const std::int64_t rows = is_weight ? op.k : op.m;
    const std::int64_t chunks = is_of_loss(op) ? std::min(choices_.loss_chunks, rows) : 1;
    if (chunks <= 1) return add_whole(op, kernels);
    for (std::int64_t i = 0; i < chunks; ++i)
      add_whole(rows_of(op, rows * (i + 1) / chunks - rows * i / chunks), kernels);
    add_sums_of_chunks(op, chunks, kernels);
  }

  /// Chunks of the loss go forward and backward one after the other: one is held.
  double kept_by(const Op& op) const override {
    const double kept = choices_.compile ? pytorch::kept_by_compiled_blocks(op, choices_.blocks, *library_)
                                         : pytorch::kept_by_eager_blocks(op, choices_.blocks, *library_);
    return op.module == Module::loss ? kept / static_cast<double>(choices_.loss_chunks) : kept;
  }

  /// Of a compiled loss the gradient of its logits.
  double working_bytes(const Op& op) const override {
    if (op.module != Module::loss) return library_->working_bytes(op);
    const double compiled =
        op.pass == OpPass::forward ? 0 : 2 * static_cast<double>(op.m) * static_cast<double>(op.n);
    const double whole = choices_.compile ? compiled : library_->working_bytes(op);
    return whole / static_cast<double>(choices_.loss_chunks);
  }
  bool holds_as_computed() const override { return library_->holds_as_computed(); }
  bool keeps_gathered() const override { return library_->keeps_gathered(); }
  const SoftwareHabits& habits() const override { return habits_; }

 private:
  void add_whole(const Op& op, std::vector<Op>& kernels) const {
    if (choices_.compile) {
      pytorch::add_compiled_block_kernels(op, choices_.blocks, *library_, kernels);
    } else {
      pytorch::add_eager_block_kernels(op, choices_.blocks, *library_, kernels);
    }
  }

  Choices choices_;
  std::unique_ptr<const Software> library_;
  SoftwareHabits habits_;
};

/// Medians of six compiled blocks (configs/validation/software-h200.json, "compiled"): the host's time over
/// launches is 22 to 57 us forward and 26 to 70 us backward; dispatching one compiled graph costs as much as
/// many launches.
constexpr HostTimes usual_host{.forward = 30_us,
                               .backward = 38_us,
                               .update = 15_us,
                               .call = 100_us,
                               .unit = 1900_us,
                               .weight = usual_host_weight,
                               .start = 100_us,
                               .wait = 16_us};

std::unique_ptr<const Software> make(Reader& reader) {
  Choices choices;
  choices.blocks.repeats_keys = reader.flag(pytorch::repeats_keys_key);
  read_fields(reader, choices,
              field(&Choices::compile,
                    {.name = "compile", .help = "blocks and loss by torch.compile", .fallback = true}),
              field(&Choices::loss_chunks, {.name = "loss_chunks",
                                            .help = "of tokens, which go through head and loss, forward "
                                                    "and backward, one after the other",
                                            .fallback = 8,
                                            .at_least = 1,
                                            .at_most = 1'000'000}));
  return std::make_unique<Torchtitan>(choices, read_host(reader, usual_host));
}

}  // namespace

extern constexpr Entry<Software> torchtitan_software{
    "torchtitan", "torchtitan: compiled blocks and loss, grouped products of experts", make};

}  // namespace moesim
