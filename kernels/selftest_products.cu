#include <functional>

#include "grouped.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {
namespace {

/// Sum over l of a(i, l) b(j, l), or the other layouts.
Numbers multiplied(Int m, Int n, Int k, const std::function<double(Int, Int)>& a,
                   const std::function<double(Int, Int)>& b) {
  Numbers c(size(m * n));
  for (Int i = 0; i < m; ++i)
    for (Int j = 0; j < n; ++j)
      for (Int l = 0; l < k; ++l) c[size(i * n + j)] += a(i, l) * b(j, l);
  return c;
}

Numbers reference(const Shape& s, const double* a, const double* b) {
  const bool fp8 = s.precision == "fp8";  // always with depth innermost
  if (s.pass == "backward_weight" && !fp8)
    return multiplied(
        s.m, s.n, s.k, [&](Int i, Int l) { return a[l * s.m + i]; },
        [&](Int j, Int l) { return b[l * s.n + j]; });
  if (s.pass == "backward_input" && !fp8)
    return multiplied(
        s.m, s.n, s.k, [&](Int i, Int l) { return a[i * s.k + l]; },
        [&](Int j, Int l) { return b[l * s.n + j]; });
  return multiplied(
      s.m, s.n, s.k, [&](Int i, Int l) { return a[i * s.k + l]; },
      [&](Int j, Int l) { return b[j * s.k + l]; });
}

/// A grouped product with operands and what it should give.
struct GroupedCase {
  explicit GroupedCase(const Shape& shape);
  void check(const std::string& name, GroupedProduct& product) const;

  Shape shape;
  bool weight, fp8;
  Int results;
  Random a, b;
  Numbers expected;
};

Random operand(bool fp8, Int count) { return fp8 ? random_fp8(count) : random(count); }

Int total(const std::vector<Int>& rows) {
  Int all = 0;
  for (const Int count : rows) all += count;
  return all;
}

GroupedCase::GroupedCase(const Shape& s)
    : shape(s),
      weight(s.pass == "backward_weight"),
      fp8(s.precision == "fp8"),
      results(weight ? static_cast<Int>(s.rows.size()) * s.n * s.k : total(s.rows) * s.n),
      a(operand(fp8, total(s.rows) * (weight ? s.n : s.k))),
      b(operand(fp8, weight ? total(s.rows) * s.k : static_cast<Int>(s.rows.size()) * s.n * s.k)) {
  Int row = 0, expert = 0;
  for (const Int rows : s.rows) {
    Shape one{.op = "gemm", .pass = s.pass, .precision = s.precision, .m = rows, .n = s.n, .k = s.k};
    if (weight) one.m = s.n, one.n = s.k, one.k = rows;
    const Numbers part = reference(one, a.host.data() + row * (weight ? s.n : s.k),
                                   b.host.data() + (weight ? row * s.k : expert * s.n * s.k));
    expected.insert(expected.end(), part.begin(), part.end());
    row += rows, ++expert;
  }
}

void GroupedCase::check(const std::string& name, GroupedProduct& product) const {
  const Buffer c = weight ? zeros(results * 4) : poisoned(results * 2);
  product.prepare(0, a.device.get(), b.device.get(), c.get());
  product.run(0);
  compare("grouped GEMM " + shape.precision + " " + shape.pass + ", " + name,
          weight ? read_float(c.get(), size(results)) : read_bf16(c.get(), size(results)), expected, 1e-2);
}

constexpr const char* passes[] = {"forward", "backward_input", "backward_weight"};

}  // namespace

void test_products(const Libraries& libraries) {
  for (const char* pass : passes) {
    const Shape s{.op = "gemm", .pass = pass, .m = 136, .n = 192, .k = 264};
    const Product product(libraries, s);
    const Random a = random(s.m * s.k), b = random(s.n * s.k);
    const bool weight = s.pass == "backward_weight";
    const Buffer c = weight ? zeros(s.m * s.n * 4) : poisoned(s.m * s.n * 2);
    product.run(a.device.get(), b.device.get(), c.get());
    compare("GEMM " + s.pass,
            weight ? read_float(c.get(), size(s.m * s.n)) : read_bf16(c.get(), size(s.m * s.n)),
            reference(s, a.host.data(), b.host.data()), 1e-2);
  }
  const Shape s{.op = "gemm", .precision = "fp8", .m = 144, .n = 192, .k = 256};
  const Product product(libraries, s);
  const Random a = random_fp8(s.m * s.k), b = random_fp8(s.n * s.k);
  const Buffer c = poisoned(s.m * s.n * 2);
  product.run(a.device.get(), b.device.get(), c.get());
  compare("GEMM fp8", read_bf16(c.get(), size(s.m * s.n)), reference(s, a.host.data(), b.host.data()), 2e-2);
}

void test_grouped(const Libraries& libraries) {
  for (const char* precision : {"bf16", "fp8"}) {
    for (const char* pass : passes) {
      Shape s{.op = "grouped_gemm", .pass = pass, .precision = precision, .n = 128, .k = 64};
      s.rows =
          s.precision == "fp8" ? std::vector<Int>{48, 0, 16, 96, 32} : std::vector<Int>{40, 0, 17, 96, 1};
      const GroupedCase made(s);
      for (const GroupedMethod method :
           {GroupedMethod::cublas_grouped, GroupedMethod::loop, GroupedMethod::streams}) {
        try {
          made.check(name_of(method), *make_grouped(libraries, s, method));
        } catch (const NotOffered& error) {
          std::printf("grouped GEMM %s, %s: not offered: %s\n", pass, name_of(method), error.what());
        }
      }
    }
  }
}

/// Every size of tile, with rows and depths that end inside tiles, and more stages of depth than memory
/// holds.
void test_own_grouped(const Libraries& libraries) {
  for (const char* precision : {"bf16", "fp8"}) {
    for (const char* pass : passes) {
      Shape s{.op = "grouped_gemm", .pass = pass, .precision = precision, .n = 336, .k = 464};
      s.rows = {200, 0, 77, 3, 130, 64};
      if (s.pass == "backward_weight") s.k = 272, s.rows = {600, 0, 77, 3, 64};
      try {
        const GroupedCase made(s);
        for (int tile = 0; tile < own_grouped_tiles(s); ++tile)
          made.check("own, tile " + std::to_string(tile), *make_own_grouped(libraries, s, tile));
      } catch (const NotOffered& error) {
        std::printf("grouped GEMM %s %s, own: not offered: %s\n", precision, pass, error.what());
      }
    }
  }
}

}  // namespace measure::selftest
