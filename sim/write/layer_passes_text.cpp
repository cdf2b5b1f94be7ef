// What layers do, as text.
#include <fmt/format.h>

#include "models/base/at.hpp"
#include "models/base/grouped.hpp"
#include "sim/layer/acts.hpp"
#include "sim/write/layer_passes.hpp"

namespace moesim {
namespace {

/// "0 to 2", "0, 2, 4 and 27 more".
std::string print_layers(const std::vector<std::int64_t>& layers) {
  if (layers.size() == 1) return fmt::format("layer {}", layers.front());
  const auto count = static_cast<std::int64_t>(layers.size());
  if (layers.back() - layers.front() == count - 1)
    return fmt::format("layers {} to {}", layers.front(), layers.back());
  constexpr std::size_t named = 3;
  std::string text = fmt::format("layers {}", layers.front());
  for (std::size_t i = 1; i < std::min(named, layers.size()); ++i) text += fmt::format(", {}", layers[i]);
  return layers.size() > named ? text + fmt::format(" and {} more", layers.size() - named) : text;
}

std::string title_of(const LayerPasses& of) {
  if (of.matrix == LayerPasses::Matrix::of_embedding)
    return "head, tied: its matrix is the embedding's, above";
  if (of.matrix == LayerPasses::Matrix::copy_of_embedding)
    return "head, tied: its matrix is a copy of the embedding's";
  if (of.end != Activity::none) return std::string(name_of(of.end));
  return fmt::format("{}: {}", print_layers(of.layers),
                     of.has_experts ? "attention and experts" : "attention and a dense feed-forward");
}

/// What a compute act is: a block, or the shared or the other experts of one.
std::string_view computed_by(const Act& act) {
  if (act.piece == shared_experts_piece) return "shared experts";
  return act.piece == other_experts_piece ? "other experts" : name_of(act.activity);
}

/// "attention, input gradient", "attention, blocks 1 to 3 of keys", "tensor reduce_scatter", "needs
/// parameters".
std::string name_of(const PricedAct& row) {
  const Act& act = row.act;
  switch (act.kind) {
    case ActKind::needs:
      return "needs parameters";
    case ActKind::produces:
      return fmt::format("produces gradients of {}", name_of(act.activity));
    case ActKind::leaves:
      return fmt::format("{} leaves for the host", name_of(act.activity));
    case ActKind::returns:
      return fmt::format("{} comes back", name_of(act.activity));
    case ActKind::lets_go:
      return fmt::format("{} lets go", name_of(act.activity));
    case ActKind::call:
      if (!is_exchange(act.activity))
        return fmt::format("{} {}", name_of(act.activity), at(operation_names, act.operation));
      return std::string(name_of(act.activity));
    default:
      break;
  }
  const std::string_view of = act.pass == OpPass::forward || row.is_forward_again() ? ""
                              : act.pass == OpPass::backward_input                  ? ", input gradient"
                                                                                    : ", weight gradient";
  if (act.blocks == 0) return fmt::format("{}{}", computed_by(act), of);
  if (act.parts > 0)
    return fmt::format("{}{}, {} of {} parts of a product", name_of(act.activity), of, act.blocks, act.parts);
  if (act.blocks == 1)
    return fmt::format("{}{}, block {} of keys", name_of(act.activity), of, act.first_block);
  return fmt::format("{}{}, blocks {} to {} of keys", name_of(act.activity), of, act.first_block,
                     act.first_block + act.blocks - 1);
}

/// An empty text for nothing.
std::string line(std::string_view marked, std::string_view name, const std::string& time,
                 const std::string& bytes) {
  std::string text = fmt::format("    {} {:<48} {:>10} {:>10}", marked, name, time, bytes);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + '\n';
}

std::string line_of(const PricedAct& of) {
  std::string text =
      line(of.is_beside() ? "|" : " ", name_of(of) + (of.is_forward_again() ? ", again" : ""),
           of.time.count > 0 ? print(of.time) : "", of.bytes > 0 ? print(from_bytes(of.bytes)) : "");
  if (of.again.count > 0 && !of.is_forward_again())
    text += line(" ", "  of which computed again", print(of.again), "");
  return text;
}

/// "4,096 x 4,096 x 14,336", "16,777,216 elements"; nothing of an attention, or of what is small.
std::string shape_of(const PricedKernel& kernel) {
  const auto count = [](std::int64_t number) { return grouped(static_cast<double>(number)); };
  if (kernel.k > 0) return fmt::format("{} x {} x {}", count(kernel.m), count(kernel.n), count(kernel.k));
  return kernel.m > 1 ? fmt::format("{} elements", count(kernel.m)) : std::string();
}

/// Times with the gaps before kernels: they add up to their act's where no host holds it up.
std::string kernel_line(const std::string& name, std::string_view of_class, const KernelPrice& price,
                        const std::string& what) {
  std::string text = fmt::format("        {:<31} {:<14} {:>10} {:>10} {:>9}", name, of_class,
                                 print(price.time + price.gap), print(price.moved), price.launches);
  if (!what.empty()) text += "  " + what;
  if (price.waits > 0) text += fmt::format("  waits {}", price.waits);
  return text + '\n';
}

void add_kernels(const PricedOp& op, bool is_again, std::string& text) {
  const std::string name = fmt::format("{}{}", op.name, is_again ? ", again" : "");
  if (op.kernels.empty()) return;
  if (op.kernels.size() == 1) {
    const PricedKernel& only = op.kernels.front();
    const std::string shape = shape_of(only);
    text += kernel_line(name, at(kernel_class_names, only.kernel_class), op.price,
                        only.name + (shape.empty() ? "" : ", " + shape));
    return;
  }
  text += kernel_line(name, "", op.price, "");
  for (const PricedKernel& kernel : op.kernels)
    text += kernel_line("  " + kernel.name, at(kernel_class_names, kernel.kernel_class), kernel.price,
                        shape_of(kernel));
}

void add_pass(const LayerPass& pass, bool with_kernels, std::string& text) {
  text += fmt::format("  {:<52} {:>10}\n", at(pass_letters, pass.pass), print(pass.time));
  for (const PricedAct& of : pass.acts) {
    text += line_of(of);
    if (!with_kernels) continue;
    for (const PricedOp& op : of.ops)
      add_kernels(op, pass.pass != Pass::forward && op.pass == OpPass::forward, text);
  }
  if (pass.kept.count == 0) return;
  const bool keeps = pass.kept.count > 0;
  text += line(" ", keeps ? "keeps for later passes" : "lets go", "",
               print(keeps ? pass.kept : Bytes{} - pass.kept));
}

}  // namespace

std::string layer_text(const LayerListing& listing) {
  std::string text = listing.title.empty() ? std::string() : listing.title + '\n';
  text += listing.plan + '\n';
  text += fmt::format("\n{:<54} {:>10} {:>10}{}\n", "one microbatch on one rank, each act by itself", "time",
                      "bytes", listing.kernels ? "  launches  kernel" : "");
  for (const LayerPasses& of : listing.all) {
    text += fmt::format("\n{}\n", title_of(of));
    for (const LayerPass& pass : of.passes) add_pass(pass, listing.kernels, text);
    if (of.pair) text += fmt::format("  {:<52} {:>10}\n", "F beside BW", print(*of.pair));
  }
  return text;
}

}  // namespace moesim
