#include <map>
#include <vector>

#include "grouped.hpp"

namespace measure {
namespace {

/// The product of one expert. Of a weight gradient its rows are the depth.
Shape part_of(const Shape& shape, Int rows) {
  Shape one{.op = "gemm", .pass = shape.pass, .precision = shape.precision};
  if (shape.pass == "backward_weight")
    one.m = shape.n, one.n = shape.k, one.k = rows;
  else
    one.m = rows, one.n = shape.n, one.k = shape.k;
  return one;
}

/// Where an expert's operands begin, in bytes.
struct Part {
  Int rows;
  GroupedBytes at;
};

/// The experts that have rows.
std::vector<Part> parts_of(const Shape& shape) {
  std::vector<Part> parts;
  Shape before = shape;
  before.rows.clear();
  for (const Int rows : shape.rows) {
    if (rows > 0) parts.push_back({rows, grouped_bytes(before)});
    before.rows.push_back(rows);
  }
  return parts;
}

/// One call of cuBLAS for all experts.
class OneCall final : public GroupedProduct {
 public:
  OneCall(const Libraries& libraries, const Shape& shape) : libraries_(libraries), parts_(parts_of(shape)) {
    for (const Part& part : parts_) {
      const Shape one = part_of(shape, part.rows);
      const ProductLayout layout = layout_of(one);
      m_.push_back(static_cast<int>(layout.rows));
      n_.push_back(static_cast<int>(layout.columns));
      k_.push_back(static_cast<int>(one.k));
      lda_.push_back(static_cast<int>(layout.left_rows));
      ldb_.push_back(static_cast<int>(layout.right_rows));
      op_a_.push_back(layout.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
      op_b_.push_back(layout.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    }
    sizes_.assign(parts_.size(), 1);
    alpha_.assign(parts_.size(), 1.0f);
    beta_.assign(parts_.size(), 0.0f);
  }

  void prepare(int slot, const void* a, const void* b, void* c) override {
    std::vector<const void*> table;
    for (const Part& part : parts_) table.push_back(static_cast<const char*>(b) + part.at.b);
    for (const Part& part : parts_) table.push_back(static_cast<const char*>(a) + part.at.a);
    for (const Part& part : parts_) table.push_back(static_cast<char*>(c) + part.at.c);
    Buffer& pointers = pointers_[slot];
    pointers = Buffer(table.size() * sizeof(void*));
    check(cudaMemcpy(pointers.get(), table.data(), pointers.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }

  void run(int slot) const override {
    const std::size_t count = parts_.size();
    const void** table = pointers_.at(slot).get<const void*>();
    check(cublasGemmGroupedBatchedEx(libraries_.blas(), op_a_.data(), op_b_.data(), m_.data(), n_.data(),
                                     k_.data(), alpha_.data(), table, CUDA_R_16BF, lda_.data(), table + count,
                                     CUDA_R_16BF, ldb_.data(), beta_.data(),
                                     const_cast<void**>(table + 2 * count), CUDA_R_16BF, m_.data(),
                                     static_cast<int>(count), sizes_.data(), CUBLAS_COMPUTE_32F),
          "cublasGemmGroupedBatchedEx");
  }

 private:
  const Libraries& libraries_;
  std::vector<Part> parts_;
  std::map<int, Buffer> pointers_;
  std::vector<int> m_, n_, k_, lda_, ldb_, sizes_;
  std::vector<cublasOperation_t> op_a_, op_b_;
  std::vector<float> alpha_, beta_;
};

/// One kernel an expert, in one stream or over several.
class OneByOne final : public GroupedProduct {
 public:
  OneByOne(const Libraries& libraries, const Shape& shape, bool spread)
      : libraries_(libraries), spread_(spread), parts_(parts_of(shape)) {
    for (const Part& part : parts_) {
      std::unique_ptr<Product>& product = products_[part.rows];
      if (!product) product = std::make_unique<Product>(libraries, part_of(shape, part.rows));
    }
  }

  void prepare(int slot, const void* a, const void* b, void* c) override {
    slots_[slot] = {static_cast<const char*>(a), static_cast<const char*>(b), static_cast<char*>(c)};
  }

  void run(int slot) const override {
    const Slot& s = slots_.at(slot);
    if (spread_) {
      check(cudaEventRecord(libraries_.fork(), libraries_.stream()), "cudaEventRecord");
      for (int i = 0; i < Libraries::side_streams; ++i)
        check(cudaStreamWaitEvent(libraries_.side(i), libraries_.fork()), "cudaStreamWaitEvent");
    }
    int next = 0;
    for (const Part& part : parts_) {
      const int stream = spread_ ? next++ % (Libraries::side_streams + 1) - 1 : -1;
      products_.at(part.rows)->run(s.a + part.at.a, s.b + part.at.b, s.c + part.at.c, stream);
    }
    for (int i = 0; spread_ && i < Libraries::side_streams; ++i) {
      check(cudaEventRecord(libraries_.joined(i), libraries_.side(i)), "cudaEventRecord");
      check(cudaStreamWaitEvent(libraries_.stream(), libraries_.joined(i)), "cudaStreamWaitEvent");
    }
  }

 private:
  struct Slot {
    const char *a, *b;
    char* c;
  };
  const Libraries& libraries_;
  bool spread_;
  std::vector<Part> parts_;
  std::map<Int, std::unique_ptr<Product>> products_;
  std::map<int, Slot> slots_;
};

}  // namespace

GroupedBytes grouped_bytes(const Shape& shape) {
  const bool weight = shape.pass == "backward_weight";
  const std::size_t in = shape.precision == "fp8" ? 1 : 2, weights = size(shape.n * shape.k);
  GroupedBytes bytes;
  for (const Int rows : shape.rows) {
    // Of a weight gradient, both operands have the expert's rows and the result is its weight.
    bytes.a += size(rows * (weight ? shape.n : shape.k)) * in;
    bytes.b += weight ? size(rows * shape.k) * in : weights * in;
    bytes.c += weight ? weights * 4 : size(rows * shape.n) * 2;
  }
  return bytes;
}

const char* name_of(GroupedMethod method) {
  constexpr std::array names{"cublas_grouped", "cublaslt_loop", "cublaslt_streams", "own"};
  return names[static_cast<std::size_t>(method)];
}

std::unique_ptr<GroupedProduct> make_library_grouped(const Libraries& libraries, const Shape& shape,
                                                     GroupedMethod method) {
  if (method != GroupedMethod::cublas_grouped)
    return std::make_unique<OneByOne>(libraries, shape, method == GroupedMethod::streams);
  if (shape.precision != "bf16" || shape.pass == "backward_weight")
    throw NotOffered("cublasGemmGroupedBatchedEx: bf16 in and out only");
  return std::make_unique<OneCall>(libraries, shape);
}

std::unique_ptr<GroupedProduct> make_grouped(const Libraries& libraries, const Shape& shape,
                                             GroupedMethod method) {
  return method == GroupedMethod::own ? make_own_grouped(libraries, shape)
                                      : make_library_grouped(libraries, shape, method);
}

}  // namespace measure
