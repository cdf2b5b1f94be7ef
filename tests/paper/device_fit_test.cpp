// The device files against the measurements that they were fitted on, and against some that they were not.
// `python3 tools/fit_device.py` prints the same table.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "models/base/at.hpp"
#include "models/config/document.hpp"
#include "models/cost/blocks.hpp"
#include "models/cost/calibration.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using testing::device;

namespace {

Value measured(const std::string& file) {
  return load_document(MOESIM_SOURCE "/configs/calibration/" + file);
}

double seconds(const Op& op, const Device& on, const DeviceState& state = {}) {
  return to_seconds(make_roofline()->time(op, on, state).time);
}

/// Over and over, as these measurements were taken: at the clock to which that settles.
double in_loop(const Op& op, const Device& on) {
  const MeasuredBlock loop{.block = "", .pass = "", .in_loop = true, .ops = {op}};
  return predict(loop, *make_roofline(), on).seconds;
}

Op product(const std::vector<std::int64_t>& rows, std::int64_t n, std::int64_t k, Precision precision) {
  Op op;
  op.kind = rows.size() == 1 ? OpKind::gemm : OpKind::grouped_gemm;
  op.precision = precision;
  op.n = n;
  op.k = k;
  if (rows.size() == 1) op.m = rows.front();
  std::int64_t total = 0;
  std::int64_t busy = 0;
  for (const std::int64_t count : rows) {
    total += count;
    busy += count > 0 ? 1 : 0;
  }
  op.flops = {2.0 * static_cast<double>(total) * static_cast<double>(n * k)};
  op.bytes = {(total * k + busy * n * k) * size_of(precision).count + 2 * total * n};
  op.rows = rows;
  return op;
}

Op attention(const Value& row, bool backward) {
  Op op;
  op.kind = OpKind::attention;
  op.pass = backward ? OpPass::backward_input : OpPass::forward;
  const auto at = [&](std::size_t i) { return row.items[i].integer; };
  op.batch = at(0);
  op.heads = at(1);
  op.kv_heads = at(2);
  op.sequence = op.kv_sequence = at(3);
  op.head_dim = at(4);
  op.value_head_dim = at(5);
  op.causal = row.items[6].flag;
  op.flops = {1};
  const std::int64_t queries = op.batch * op.sequence * op.heads;
  const std::int64_t operands =
      2 * (queries + op.batch * op.sequence * op.kv_heads) * (op.head_dim + op.value_head_dim);
  op.bytes = {backward ? 2 * operands + 12 * queries : operands + 4 * queries};
  op.kernels = backward ? 3 : 1;
  return op;
}

struct TableErrors {
  double median = 0, p90 = 0, worst = 0;
};

/// Relative errors over the rows of a table; `predict` answers predicted seconds and the column measured in
/// us.
TableErrors errors(const Value& table, const std::string& name,
                   const std::function<std::pair<double, std::size_t>(const Value&)>& predict) {
  std::vector<double> sizes;
  const Value* rows = table.find(name);
  REQUIRE(rows != nullptr);
  for (const Value& row : rows->items) {
    const auto [time, column] = predict(row);
    if (time > 0) sizes.push_back(std::abs(time / (row.items[column].number * 1e-6) - 1));
  }
  REQUIRE(sizes.size() >= 2);
  std::sort(sizes.begin(), sizes.end());
  return {sizes[sizes.size() / 2], sizes[(sizes.size() - 1) * 9 / 10], sizes.back()};
}

std::vector<std::int64_t> rows_of(const Value& list) {
  std::vector<std::int64_t> rows;
  for (const Value& item : list.items) rows.push_back(item.integer);
  return rows;
}

const Value& member(const Value& object, std::string_view name) {
  const Value* found = object.find(name);
  REQUIRE(found != nullptr);
  return *found;
}

double median(std::vector<double> errors) {
  std::sort(errors.begin(), errors.end());
  return errors[errors.size() / 2];
}

}  // namespace

TEST_CASE(
    "DeepGEMM's 28 products on an H800 come out within 6 % at the median and 15 % at the 90th percentile") {
  const Device h800 = device("h800.json");
  const double launch = to_seconds(h800.launch_overhead);  // the table is of kernels alone
  const TableErrors found = errors(measured("measurements-h800-fp8.json"), "deepgemm", [&](const Value& row) {
    const Op op = product(rows_of(row.items[0]), row.items[1].integer, row.items[2].integer, Precision::fp8);
    return std::pair(seconds(op, h800) - launch, std::size_t{3});
  });
  CHECK(found.median < 0.03);
  CHECK(found.p90 < 0.13);
  CHECK(found.worst < 0.24);
}

TEST_CASE("The same kernels in a training trace, 20 SMs held, come out within 10 % at the median") {
  const Device h800 = device("h800.json");
  const double launch = to_seconds(h800.launch_overhead);
  const TableErrors found = errors(measured("measurements-h800-fp8.json"), "trace", [&](const Value& row) {
    const Op op = product(rows_of(row.items[0]), row.items[1].integer, row.items[2].integer, Precision::fp8);
    return std::pair(seconds(op, h800, 20) - launch, std::size_t{3});
  });
  CHECK(found.median < 0.10);
  CHECK(found.p90 < 0.17);
}

TEST_CASE(
    "Products on an H200 that rested come out within 6 % at the median and 16 % at the 90th percentile") {
  const Device h200 = device("h200.json");
  const Value file = measured("h200.json");
  Reader reader(file, "");
  std::array<std::vector<double>, precision_count> off;
  for (const Measured& one : read_calibration(reader).grid) {
    if (one.op.kind == OpKind::gemm && one.op.pass == OpPass::forward)
      at(off, one.op.precision).push_back(std::abs(seconds(one.op, h200) / one.seconds - 1));
  }
  for (const Precision precision : {Precision::bf16, Precision::fp8}) {
    std::vector<double>& sizes = at(off, precision);
    REQUIRE(sizes.size() > 400);
    std::sort(sizes.begin(), sizes.end());
    CHECK(sizes[sizes.size() / 2] < 0.06);
    CHECK(sizes[sizes.size() * 9 / 10] < 0.16);
  }
}

TEST_CASE("cuBLAS beside 4 to 48 SMs held by communication comes out within 6 % at the median") {
  const Device h200 = device("h200.json");
  const TableErrors found =
      errors(measured("measurements-h200-bf16.json"), "contention", [&](const Value& row) {
        std::int64_t m = 0;
        std::int64_t n = 0;
        std::int64_t k = 0;
        if (std::sscanf(row.items[0].text.c_str(), "gemm %ld %ld %ld", &m, &n, &k) != 3 ||
            row.items[2].integer == 0) {
          return std::pair(0.0, std::size_t{4});
        }
        return std::pair(seconds(product({m}, n, k, Precision::bf16), h200, row.items[2].integer),
                         std::size_t{4});
      });
  CHECK(found.median < 0.06);
  CHECK(found.p90 < 0.15);
}

TEST_CASE(
    "Grouped products with whole groups of eight rows come out within 12 % at the median without a fit") {
  const Device h200 = device("h200.json");
  const TableErrors found =
      errors(measured("measurements-h200-bf16.json"), "grouped_bf16", [&](const Value& row) {
        const std::vector<std::int64_t> rows = rows_of(row.items[0]);
        const bool even =
            std::all_of(rows.begin(), rows.end(), [](std::int64_t count) { return count % 8 == 0; });
        const std::size_t faster = row.items[3].number < row.items[4].number ? 3 : 4;
        if (!even) return std::pair(0.0, faster);
        return std::pair(
            in_loop(product(rows, row.items[1].integer, row.items[2].integer, Precision::bf16), h200),
            faster);
      });
  CHECK(found.median < 0.12);
  CHECK(found.p90 < 0.27);
}

TEST_CASE("cuDNN's attention on an H200 comes out within 3 % forward and 6 % backward at the median") {
  const Device h200 = device("h200.json");
  const Value table = measured("measurements-h200-bf16.json");
  const auto pass = [&](bool backward) {
    return errors(table, "attention_bf16", [&](const Value& row) {
      return std::pair(in_loop(attention(row, backward), h200), std::size_t{backward ? 8U : 7U});
    });
  };
  CHECK(pass(false).median < 0.03);
  CHECK(pass(false).p90 < 0.12);
  CHECK(pass(true).median < 0.06);
  CHECK(pass(true).p90 < 0.19);
}

TEST_CASE("Copies, norms, SwiGLU, permute and unpermute on an H200 come out within 4 % at the median") {
  const Device h200 = device("h200.json");
  const TableErrors found = errors(measured("measurements-h200-bf16.json"), "memory", [&](const Value& row) {
    const std::string& op = row.items[0].text;
    const bool fused_elsewhere = op == "adamw" || op == "softmax" || op == "router_torch";
    Op streaming;
    streaming.kind = OpKind::copy;
    streaming.bytes = {row.items[3].integer};
    return std::pair(fused_elsewhere ? 0.0 : seconds(streaming, h200), std::size_t{4});
  });
  CHECK(found.median < 0.04);
  CHECK(found.p90 < 0.08);
}

TEST_CASE("Products published for an A100 come out within 3 % at the median") {
  const Device a100 = device("a100.json");
  const Value table = measured("measurements-a100-bf16.json");
  std::vector<double> products;
  for (const Value& row : member(table, "gemm_bf16").items) {
    const std::string& pass = row.items[0].text;
    const Op op =
        make_gemm("", pass == "backward_weight" ? OpPass::backward_weight : OpPass::forward,
                  row.items[1].integer, row.items[2].integer, row.items[3].integer, Precision::bf16);
    products.push_back(std::abs(seconds(op, a100) * 312e12 * row.items[4].number / op.flops.count - 1));
  }
  CHECK(products.size() == 66);
  CHECK(median(products) < 0.03);
}

TEST_CASE("Products and attention published for a B200 come out within 10 % and 15 % at the median") {
  const Device b200 = device("b200.json");
  const Value table = measured("measurements-b200-bf16.json");
  std::vector<double> products;
  for (const Value& row : member(table, "gemm_bf16").items) {
    const std::string& pass = row.items[0].text;
    const Op op =
        make_gemm("", pass == "backward_weight" ? OpPass::backward_weight : OpPass::forward,
                  row.items[1].integer, row.items[2].integer, row.items[3].integer, Precision::bf16);
    products.push_back(std::abs(seconds(op, b200) * 2250e12 * row.items[4].number / op.flops.count - 1));
  }
  CHECK(products.size() == 69);
  CHECK(median(products) < 0.10);
  for (const bool backward : {false, true}) {
    std::vector<double> errors;
    for (const Value& row : member(table, "attention_bf16").items) {
      const auto at = [&](std::size_t i) { return row.items[i].integer; };
      const Op op = make_attention(backward ? OpPass::backward_input : OpPass::forward,
                                   {.batch = 1,
                                    .heads = at(0),
                                    .kv_heads = at(1),
                                    .sequence = at(4),
                                    .kv_sequence = at(4),
                                    .head_dim = at(2),
                                    .value_head_dim = at(3)},
                                   Precision::bf16);
      const double square =
          2.0 * static_cast<double>(at(0) * (at(2) + at(3))) * static_cast<double>(at(4) * at(4));
      const double flops = backward ? 2.5 * square : square;
      errors.push_back(
          std::abs(seconds(op, b200) * 2250e12 * row.items[backward ? 6 : 5].number / flops - 1));
    }
    CHECK(median(errors) < 0.15);
  }
}

TEST_CASE("Grouped products published for a B200 are a kernel for each expert, within 20 % at the median") {
  const Device b200 = device("b200.json");
  const Value table = measured("measurements-b200-bf16.json");
  std::vector<double> errors;
  for (const Value& row : member(table, "grouped_bf16").items) {
    const auto at = [&](std::size_t i) { return row.items[i].integer; };
    const bool is_weight = row.items[0].text == "backward_weight";
    const bool is_input = row.items[0].text == "backward_input";
    const OpPass pass = is_weight ? OpPass::backward_weight : OpPass::forward;
    const Op one =
        is_weight ? make_gemm("", pass, at(3), at(4), at(2), Precision::bf16)
                  : make_gemm("", pass, at(2), at(is_input ? 4 : 3), at(is_input ? 3 : 4), Precision::bf16);
    errors.push_back(std::abs(seconds(one, b200) * 2250e12 * row.items[5].number / one.flops.count - 1));
  }
  CHECK(median(errors) < 0.20);
}
