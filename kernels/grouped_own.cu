#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "grouped.hpp"
#include "grouped_kernel.hpp"

namespace measure {
namespace {

#ifdef MEASURE_HOPPER

using grouped::Kind;

/// A matrix and the box of it that the copy engine brings at once.
struct Boxes {
  const void* data;
  std::size_t rows, columns;
  unsigned box_rows, box_columns;
  bool fp8;
};

CUtensorMap map_of(const Boxes& m) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    check(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result),
        "cudaGetDriverEntryPointByVersion");
    if (found == nullptr) throw NotOffered("cuTensorMapEncodeTiled: not in this driver");
    return reinterpret_cast<Encode>(found);
  }();
  CUtensorMap map{};
  const std::size_t element = m.fp8 ? 1 : 2;
  const cuuint64_t sizes[] = {m.columns, m.rows}, strides[] = {m.columns * element};
  const cuuint32_t box[] = {m.box_columns, m.box_rows}, steps[] = {1, 1};
  const CUresult status = encode(
      &map, m.fp8 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
      const_cast<void*>(m.data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) throw NotOffered("cuTensorMapEncodeTiled: error " + std::to_string(status));
  return map;
}

/// One size of tile: its kernel, and how fast it multiplies beside the largest.
struct Variant {
  int rows, columns, shared;
  double rate;
  void (*kernel)(CUtensorMap, CUtensorMap, grouped::Task, int);
};

template <Kind K, int Tall, int Wide, bool Fp8>
Variant variant(double rate) {
  using T = grouped::Tile<K, Tall, Wide>;
  return {T::rows, T::columns, T::shared_bytes, rate, grouped::products<K, Tall, Wide, Fp8>};
}

template <Kind K>
std::vector<Variant> bf16_variants() {
  return {variant<K, 2, 2, false>(1), variant<K, 2, 1, false>(0.85), variant<K, 1, 1, false>(0.75)};
}

std::vector<Variant> variants_of(const Shape& shape) {
  if (shape.precision == "fp8")
    return {variant<Kind::forward, 2, 1, true>(1), variant<Kind::forward, 1, 1, true>(0.9)};
  if (shape.pass == "forward") return bf16_variants<Kind::forward>();
  if (shape.pass == "backward_input") return bf16_variants<Kind::backward_input>();
  return bf16_variants<Kind::backward_weight>();
}

class OwnGrouped final : public GroupedProduct {
 public:
  OwnGrouped(const Libraries& libraries, const Shape& shape, int tile);
  void prepare(int slot, const void* a, const void* b, void* c) override;
  void run(int slot) const override;

 private:
  bool is_weight() const { return shape_.pass == "backward_weight"; }
  bool is_fp8() const { return shape_.precision == "fp8"; }
  Int tiles_with(const Variant& variant) const;

  const Libraries& libraries_;
  Shape shape_;
  Int total_ = 0;
  Variant variant_;
  int tiles_ = 0;
  Buffer table_;  ///< first row of each expert, then first tile
  struct Slot {
    CUtensorMap a, b;
    void* c;
  };
  std::map<int, Slot> slots_;
};

Int tiles(Int length, Int each) { return (length + each - 1) / each; }

Int OwnGrouped::tiles_with(const Variant& v) const {
  Int count = 0;
  for (const Int rows : shape_.rows)
    if (rows > 0)
      count += is_weight() ? tiles(shape_.n, v.rows) * tiles(shape_.k, v.columns)
                           : tiles(rows, v.rows) * tiles(shape_.n, v.columns);
  return count;
}

OwnGrouped::OwnGrouped(const Libraries& libraries, const Shape& shape, int tile)
    : libraries_(libraries), shape_(shape) {
  if (is_fp8() && is_weight()) throw NotOffered("own grouped products: no weight gradients in fp8");
  if (shape.n % (is_fp8() ? 16 : 8) != 0 || shape.k % (is_fp8() ? 16 : 8) != 0)
    throw NotOffered("own grouped products: widths are not multiples of 16 bytes");
  for (const Int rows : shape.rows) total_ += rows;
  double least = std::numeric_limits<double>::infinity();
  const std::vector<Variant> variants = variants_of(shape);
  for (const Variant& v : variants) {
    const Int waves = tiles(tiles_with(v), libraries.multiprocessors());
    const double cost = static_cast<double>(waves * v.rows * v.columns) / v.rate;
    if (cost < least) least = cost, variant_ = v;
  }
  if (tile >= 0) variant_ = variants.at(static_cast<std::size_t>(tile));
  tiles_ = static_cast<int>(tiles_with(variant_));
  std::vector<int> first_row{0}, first_tile{0};
  for (const Int rows : shape.rows) {
    const Int own = rows == 0     ? 0
                    : is_weight() ? tiles(shape.n, variant_.rows) * tiles(shape.k, variant_.columns)
                                  : tiles(rows, variant_.rows) * tiles(shape.n, variant_.columns);
    first_row.push_back(first_row.back() + static_cast<int>(rows));
    first_tile.push_back(first_tile.back() + static_cast<int>(own));
  }
  first_row.insert(first_row.end(), first_tile.begin(), first_tile.end());
  table_ = Buffer(first_row.size() * sizeof(int));
  check(cudaMemcpy(table_.get(), first_row.data(), table_.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  check(cudaFuncSetAttribute(variant_.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, variant_.shared),
        "cudaFuncSetAttribute");
}

void OwnGrouped::prepare(int slot, const void* a, const void* b, void* c) {
  const std::size_t all = size(total_), experts = shape_.rows.size(), n = size(shape_.n), k = size(shape_.k);
  const auto rows = static_cast<unsigned>(variant_.rows), columns = static_cast<unsigned>(variant_.columns);
  const unsigned line = is_fp8() ? 128 : 64;  // elements of 128 bytes
  Slot& s = slots_[slot];
  s.c = c;
  s.a = is_weight() ? map_of({a, all, n, 64, 64, false}) : map_of({a, all, k, rows, line, is_fp8()});
  if (is_weight())
    s.b = map_of({b, all, k, 64, 64, false});
  else if (is_fp8() || shape_.pass == "forward")
    s.b = map_of({b, experts * n, k, columns, line, is_fp8()});
  else
    s.b = map_of({b, experts * k, n, 64, 64, false});
}

void OwnGrouped::run(int slot) const {
  const Slot& s = slots_.at(slot);
  const int* first_row = table_.get<int>();
  const grouped::Task task{.first_row = first_row,
                           .first_tile = first_row + shape_.rows.size() + 1,
                           .out = s.c,
                           .rows = static_cast<int>(shape_.n),
                           .columns = static_cast<int>(is_weight() ? shape_.k : shape_.n),
                           .depth = static_cast<int>(shape_.k)};
  const unsigned grid = static_cast<unsigned>(std::min(tiles_, libraries_.multiprocessors()));
  variant_.kernel<<<grid, grouped::threads, static_cast<std::size_t>(variant_.shared), libraries_.stream()>>>(
      s.a, s.b, task, tiles_);
  check_launch("grouped::products");
}

#endif

}  // namespace

std::unique_ptr<GroupedProduct> make_own_grouped(const Libraries& libraries, const Shape& shape, int tile) {
#ifdef MEASURE_HOPPER
  if (libraries.major() == 9) return std::make_unique<OwnGrouped>(libraries, shape, tile);
#endif
  static_cast<void>(libraries), static_cast<void>(shape), static_cast<void>(tile);
  throw NotOffered("own grouped products: need a device of compute capability 9.0");
}

int own_grouped_tiles(const Shape& shape) {
#ifdef MEASURE_HOPPER
  return static_cast<int>(variants_of(shape).size());
#else
  static_cast<void>(shape);
  return 1;  // to be told what is missing
#endif
}

}  // namespace measure
