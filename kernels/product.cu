#include "product.hpp"

#include <cuda_fp8.h>

namespace measure {
namespace {

std::size_t size(Int count) { return static_cast<std::size_t>(count); }

/// One layout of a product in cuBLAS's column-major words: D (rows x columns) = op(left) op(right).
struct Layout {
  bool left_transposed, right_transposed;
  Int left_rows, left_columns, right_rows, right_columns, rows, columns;
};

Layout layout_of(const Shape& s) {
  if (s.precision == "fp8" || s.pass == "forward") return {true, false, s.k, s.n, s.k, s.m, s.n, s.m};
  if (s.pass == "backward_input") return {false, false, s.n, s.k, s.k, s.m, s.n, s.m};
  return {false, true, s.n, s.k, s.m, s.k, s.n, s.m};
}

template <class Value>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, Value value) {
  check(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}

cublasLtMatrixLayout_t make_layout(cudaDataType_t type, Int rows, Int columns) {
  cublasLtMatrixLayout_t layout{};
  check(cublasLtMatrixLayoutCreate(&layout, type, size(rows), size(columns), rows),
        "cublasLtMatrixLayoutCreate");
  return layout;
}

}  // namespace

Libraries::Libraries(cudaStream_t stream)
    : stream_(stream), workspace_((side_streams + 1) * workspace_bytes) {
  check(cublasLtCreate(&lt_), "cublasLtCreate");
  check(cublasCreate(&blas_), "cublasCreate");
  check(cublasSetStream(blas_, stream), "cublasSetStream");
  check(cublasSetWorkspace(blas_, workspace(0), workspace_bytes), "cublasSetWorkspace");
  for (cudaStream_t& side : sides_)
    check(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking), "cudaStreamCreate");
  for (cudaEvent_t& event : events_)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
}

Libraries::~Libraries() {
  for (cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
  for (cudaStream_t side : sides_) static_cast<void>(cudaStreamDestroy(side));
  static_cast<void>(cublasDestroy(blas_));
  static_cast<void>(cublasLtDestroy(lt_));
}

Product::Product(const Libraries& libraries, const Shape& s, int sm_target) : libraries_(libraries) {
  const bool fp8 = s.precision == "fp8";
  const bool weight = s.pass == "backward_weight";
  const Layout layout = layout_of(s);
  const cudaDataType_t in = fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF, out = weight ? CUDA_R_32F : CUDA_R_16BF;
  check(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, layout.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSB, layout.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  // As training does it: sums of the forward pass in the matrix unit, those of gradients in fp32 registers.
  if (fp8)
    set(operation_, CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<std::int8_t>(s.pass == "forward" ? 1 : 0));
  if (sm_target > 0)
    set(operation_, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, static_cast<std::int32_t>(sm_target));
  left_ = make_layout(in, layout.left_rows, layout.left_columns);
  right_ = make_layout(in, layout.right_rows, layout.right_columns);
  out_ = make_layout(out, layout.rows, layout.columns);
  beta_ = weight ? 1.0f : 0.0f;
  a_bytes_ = size(s.m * s.k) * (fp8 ? 1 : 2);
  b_bytes_ = size(s.n * s.k) * (fp8 ? 1 : 2);
  c_bytes_ = size(s.m * s.n) * (weight ? 4 : 2);
  plan();
}

void Product::plan() {
  cublasLtMatmulPreference_t preference{};
  check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const std::size_t workspace = Libraries::workspace_bytes;
  check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                             sizeof workspace),
        "cublasLtMatmulPreferenceSetAttribute");
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(libraries_.lt(), operation_, left_, right_,
                                                               out_, out_, preference, 1, &result, &found);
  static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) throw NotOffered("cublasLtMatmulAlgoGetHeuristic: no kernel");
  algorithm_ = result.algo;
}

Product::~Product() {
  for (cublasLtMatrixLayout_t layout : {left_, right_, out_})
    if (layout != nullptr) static_cast<void>(cublasLtMatrixLayoutDestroy(layout));
  if (operation_ != nullptr) static_cast<void>(cublasLtMatmulDescDestroy(operation_));
}

void Product::run(const void* a, const void* b, void* c, int stream) const {
  const float alpha = 1;
  const cudaStream_t where = stream < 0 ? libraries_.stream() : libraries_.side(stream);
  // Row-major (m, n) is column-major (n, m): the weight stands on the left.
  check(cublasLtMatmul(libraries_.lt(), operation_, &alpha, b, left_, a, right_, &beta_, c, out_, c, out_,
                       &algorithm_, libraries_.workspace(stream + 1), Libraries::workspace_bytes, where),
        "cublasLtMatmul");
}

const char* name_of(GroupedMethod method) {
  switch (method) {
    case GroupedMethod::cublas_grouped:
      return "cublas_grouped";
    case GroupedMethod::loop:
      return "cublaslt_loop";
    default:
      return "cublaslt_streams";
  }
}

GroupedProduct::GroupedProduct(const Libraries& libraries, const Shape& shape, GroupedMethod method)
    : libraries_(libraries), method_(method), shape_(shape) {
  const bool weight = shape.pass == "backward_weight";
  if (method == GroupedMethod::cublas_grouped && (shape.precision != "bf16" || weight))
    throw NotOffered("cublasGemmGroupedBatchedEx: bf16 in and out only");
  add_parts(shape);
}

void GroupedProduct::add_parts(const Shape& shape) {
  const bool weight = shape.pass == "backward_weight";
  const std::size_t in = shape.precision == "fp8" ? 1 : 2;
  for (const Int rows : shape.rows) {
    const std::size_t weights = size(shape.n * shape.k);
    if (rows > 0) {
      Shape one{.op = "gemm",
                .pass = shape.pass,
                .precision = shape.precision,
                .m = rows,
                .n = shape.n,
                .k = shape.k};
      if (weight)
        one = Shape{.op = "gemm",
                    .pass = shape.pass,
                    .precision = shape.precision,
                    .m = shape.n,
                    .n = shape.k,
                    .k = rows};
      std::unique_ptr<Product>& product = products_[rows];
      if (!product && method_ != GroupedMethod::cublas_grouped)
        product = std::make_unique<Product>(libraries_, one);
      parts_.push_back({product.get(), a_bytes_, b_bytes_, c_bytes_});
      const Layout layout = layout_of(one);
      m_.push_back(static_cast<int>(layout.rows));
      n_.push_back(static_cast<int>(layout.columns));
      k_.push_back(static_cast<int>(one.k));
      lda_.push_back(static_cast<int>(layout.left_rows));
      ldb_.push_back(static_cast<int>(layout.right_rows));
      ldc_.push_back(static_cast<int>(layout.rows));
      op_a_.push_back(layout.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
      op_b_.push_back(layout.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    }
    // Of a weight gradient, both operands have the expert's rows and the result is its weight.
    a_bytes_ += size(rows * (weight ? shape.n : shape.k)) * in;
    b_bytes_ += weight ? size(rows * shape.k) * in : weights * in;
    c_bytes_ += weight ? weights * 4 : size(rows * shape.n) * 2;
  }
  sizes_.assign(parts_.size(), 1);
  alpha_.assign(parts_.size(), 1.0f);
  beta_.assign(parts_.size(), 0.0f);
}

void GroupedProduct::prepare(int slot, const void* a, const void* b, void* c) {
  Pointers& pointers = slots_[slot];
  pointers.a = static_cast<const char*>(a);
  pointers.b = static_cast<const char*>(b);
  pointers.c = static_cast<char*>(c);
  if (method_ != GroupedMethod::cublas_grouped) return;
  std::vector<const void*> table;
  for (const Part& part : parts_) table.push_back(pointers.b + part.b);
  for (const Part& part : parts_) table.push_back(pointers.a + part.a);
  for (const Part& part : parts_) table.push_back(pointers.c + part.c);
  pointers.table = Buffer(table.size() * sizeof(void*));
  check(cudaMemcpy(pointers.table.get(), table.data(), table.size() * sizeof(void*), cudaMemcpyHostToDevice),
        "cudaMemcpy");
}

void GroupedProduct::run_grouped(int slot) const {
  const Pointers& pointers = slots_.at(slot);
  const std::size_t count = parts_.size();
  const void** table = pointers.table.get<const void*>();
  check(cublasGemmGroupedBatchedEx(libraries_.blas(), op_a_.data(), op_b_.data(), m_.data(), n_.data(),
                                   k_.data(), alpha_.data(), table, CUDA_R_16BF, lda_.data(), table + count,
                                   CUDA_R_16BF, ldb_.data(), beta_.data(),
                                   const_cast<void**>(table + 2 * count), CUDA_R_16BF, ldc_.data(),
                                   static_cast<int>(count), sizes_.data(), CUBLAS_COMPUTE_32F),
        "cublasGemmGroupedBatchedEx");
}

void GroupedProduct::run(int slot) const {
  if (method_ == GroupedMethod::cublas_grouped) return run_grouped(slot);
  const Pointers& p = slots_.at(slot);
  const bool spread = method_ == GroupedMethod::streams;
  if (spread) {
    check(cudaEventRecord(libraries_.fork(), libraries_.stream()), "cudaEventRecord");
    for (int i = 0; i < Libraries::side_streams; ++i)
      check(cudaStreamWaitEvent(libraries_.side(i), libraries_.fork()), "cudaStreamWaitEvent");
  }
  int next = 0;
  for (const Part& part : parts_) {
    const int stream = spread ? next++ % (Libraries::side_streams + 1) - 1 : -1;
    part.product->run(p.a + part.a, p.b + part.b, p.c + part.c, stream);
  }
  for (int i = 0; spread && i < Libraries::side_streams; ++i) {
    check(cudaEventRecord(libraries_.joined(i), libraries_.side(i)), "cudaEventRecord");
    check(cudaStreamWaitEvent(libraries_.stream(), libraries_.joined(i)), "cudaStreamWaitEvent");
  }
}

}  // namespace measure
