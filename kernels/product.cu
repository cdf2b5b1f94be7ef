#include "product.hpp"

namespace measure {
namespace {

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

ProductLayout layout_of(const Shape& s) {
  if (s.precision == "fp8" || s.pass == "forward") return {true, false, s.k, s.n, s.k, s.m, s.n, s.m};
  if (s.pass == "backward_input") return {false, false, s.n, s.k, s.k, s.m, s.n, s.m};
  return {false, true, s.n, s.k, s.m, s.k, s.n, s.m};
}

Libraries::Libraries(cudaStream_t stream)
    : stream_(stream), workspace_((side_streams + 1) * workspace_bytes) {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&major_, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
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

Product::Product(const Libraries& libraries, const Shape& s) : libraries_(libraries) {
  const bool fp8 = s.precision == "fp8";
  const bool weight = s.pass == "backward_weight";
  const ProductLayout layout = layout_of(s);
  const cudaDataType_t in = fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF, out = weight ? CUDA_R_32F : CUDA_R_16BF;
  check(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSA, layout.left_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation_, CUBLASLT_MATMUL_DESC_TRANSB, layout.right_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  // As training does it: sums of the forward pass in the matrix unit, those of gradients in fp32 registers.
  if (fp8)
    set(operation_, CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<std::int8_t>(s.pass == "forward" ? 1 : 0));
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

}  // namespace measure
