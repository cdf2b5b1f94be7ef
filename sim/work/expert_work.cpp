#include "sim/work/expert_work.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "models/base/hash.hpp"
#include "sim/work/share.hpp"

namespace moesim {

std::size_t ExpertWorks::Hash::operator()(std::span<const std::int64_t> words) const {
  std::uint64_t hash = hash_of_nothing;
  for (const std::int64_t word : words) hash = hash_with(hash, static_cast<std::uint64_t>(word));
  return hash;
}

std::uint32_t ExpertWorks::number_of(std::size_t shape, std::vector<std::int64_t> rows, std::int64_t sent) {
  std::sort(rows.begin(), rows.end(), std::greater<>());
  rows.push_back(sent);
  Shape& here = shapes_[shape];
  const auto next = static_cast<std::uint32_t>(works_.size());
  const auto [known, is_new] = here.known.try_emplace(std::move(rows), next);
  if (is_new) {
    const std::span<const std::int64_t> of_experts = std::span(known->first).first(known->first.size() - 1);
    works_.push_back(make(here, shape, of_experts, sent));
  }
  return known->second;
}

const ExpertWorks::Common& ExpertWorks::common_of(Shape& shape, std::size_t layer,
                                                  std::span<const std::int64_t> rows, std::int64_t sent) {
  const std::int64_t all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  const auto [known, is_new] = shape.common.try_emplace({all, sent});
  Common& common = known->second;
  if (!is_new) return common;
  Share share = share_of(scenario_, layer);
  share.expert_rows = rows;
  share.dispatched_rows = sent;
  const BlockOps ops = lower_feed_forward(scenario_.model, layer, share, scenario_.recompute_of(layer));
  common.activations = ops.activations;
  common.for_weight = ops.for_weight;
  common.offloaded = ops.offloaded;
  const bool has_products = !shape.products.empty();
  std::size_t pass = 0;
  for (const std::vector<Op>* of_pass : {&ops.forward, &ops.backward_input, &ops.backward_weight}) {
    for (const Op& op : *of_pass) {
      if (op.kind != OpKind::grouped_gemm) {
        common.passes[pass].add(op, scenario_);
      } else if (!has_products) {
        shape.products.push_back({pass, op});
      }
    }
    ++pass;
  }
  return common;
}

namespace {

/// The same products with other rows.
Op with_rows(Op product, std::span<const std::int64_t> rows) {
  Op made = make_grouped_gemm(product.name, product.pass, {rows.begin(), rows.end()}, product.n, product.k,
                              product.precision);
  product.rows = std::move(made.rows);
  product.flops = made.flops;
  product.bytes = made.bytes;
  return product;
}

}  // namespace

ExpertWork ExpertWorks::make(Shape& shape, std::size_t layer, std::span<const std::int64_t> rows,
                             std::int64_t sent) {
  const Common& common = common_of(shape, layer, rows, sent);
  std::array<OpSum, 3> passes = common.passes;
  const std::int64_t all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  for (const auto& [pass, op] : shape.products) {
    if (all == 0) break;
    passes[pass].add(with_rows(op, rows), scenario_);
  }
  return {.rows = all,
          .times = {.passes = {passes[0].timed(), passes[1].timed(), passes[2].timed()}},
          .activations = common.activations,
          .for_weight = common.for_weight,
          .offloaded = common.offloaded};
}

}  // namespace moesim
