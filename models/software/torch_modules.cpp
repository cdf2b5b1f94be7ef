// Models written in torch.nn modules by their users, run eagerly (torch_blocks.hpp).
#include <memory>

#include "models/config/fields.hpp"
#include "models/software/host.hpp"
#include "models/software/torch_blocks.hpp"

namespace moesim {
namespace {

using namespace literals;

class TorchModules final : public Software {
 public:
  TorchModules(const pytorch::BlockChoices& choices, const HostTimes& host)
      : choices_(choices), library_(pytorch::library_of_models()), habits_(library_->habits()) {
    habits_.has_fp8 = true;
    habits_.host = host;
  }

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    pytorch::add_eager_block_kernels(op, choices_, *library_, kernels);
  }
  double kept_by(const Op& op) const override {
    return pytorch::kept_by_eager_blocks(op, choices_, *library_);
  }
  double working_bytes(const Op& op) const override { return library_->working_bytes(op); }
  bool holds_as_computed() const override { return library_->holds_as_computed(); }
  bool keeps_gathered() const override { return library_->keeps_gathered(); }
  const SoftwareHabits& habits() const override { return habits_; }

 private:
  pytorch::BlockChoices choices_;
  std::unique_ptr<const Software> library_;
  SoftwareHabits habits_;
};

/// Medians of six blocks (configs/validation/software-h200.json, "compiled", eager): the host's time over
/// launches is 21 to 42 us forward and 28 to 42 us backward. The rest is as in models of Hugging Face.
constexpr HostTimes usual_host{.forward = 25_us,
                               .backward = 35_us,
                               .update = 15_us,
                               .call = 100_us,
                               .unit = 1900_us,
                               .weight = usual_host_weight,
                               .start = 100_us,
                               .wait = 16_us};

std::unique_ptr<const Software> make(Reader& reader) {
  const bool repeats = reader.flag(pytorch::repeats_keys_key);
  return std::make_unique<TorchModules>(pytorch::BlockChoices{repeats}, read_host(reader, usual_host));
}

}  // namespace

extern constexpr Entry<Software> pytorch_software{
    "pytorch", "a model of one's own in torch.nn modules, eager: fused norms, sdpa, grouped products", make};

}  // namespace moesim
