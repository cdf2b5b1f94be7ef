// The parts of a mixture-of-experts block that only stream memory, as kernels of our own. Rows are row-major
// bf16, widths multiples of 8.
#pragma once

#include <cstdint>

#include "vectors.hpp"

namespace measure {

/// out = x / rms(x) * weight, row by row.
void rms_norm(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream);
/// Gradient of the input; adds the weight's gradient to `weight_gradient` (fp32), in no fixed order.
void rms_norm_backward(const Half* gradient, const Half* x, const Half* weight, Half* out,
                       float* weight_gradient, Int rows, Int width, cudaStream_t stream);
/// out (rows, width) = silu(first half) * second half of x (rows, 2 width).
void swiglu(const Half* x, Half* out, Int rows, Int width, cudaStream_t stream);
void swiglu_backward(const Half* gradient, const Half* x, Half* out, Int rows, Int width,
                     cudaStream_t stream);
/// Softmax of each token's logits; probabilities in fp32, the top_k largest with their experts, the lower
/// expert first among equals (but -0 below 0). At most 512 experts, in fours; of them at most 16 are chosen.
void router(const Half* logits, float* probabilities, float* weights, int* choices, Int tokens, Int experts,
            Int top_k, cudaStream_t stream);
/// Gradient of the logits from that of the chosen weights.
void router_backward(const float* probabilities, const float* weights, const int* choices,
                     const float* gradients, Half* out, Int tokens, Int experts, Int top_k,
                     cudaStream_t stream);
/// out[place[t, j]] = x[t] for all j.
void permute(const Half* x, const int* place, Half* out, Int tokens, Int width, Int top_k,
             cudaStream_t stream);
/// out[t] = sum over j of weights[t, j] * x[place[t, j]].
void unpermute(const Half* x, const int* place, const float* weights, Half* out, Int tokens, Int width,
               Int top_k, cudaStream_t stream);
/// bf16 to e4m3 with one scale for every 128 elements of a row.
void fp8_cast(const Half* x, std::uint8_t* out, float* scales, Int rows, Int width, cudaStream_t stream);
/// out = a + b.
void residual(const Half* a, const Half* b, Half* out, Int rows, Int width, cudaStream_t stream);
/// Rotates pairs of elements of heads of `head` elements, as positions of tokens say.
void rotary(const Half* x, Half* out, Int rows, Int width, Int head, cudaStream_t stream);
/// Copies 16 bytes a thread at a time.
void copy(const void* from, void* to, std::size_t bytes, cudaStream_t stream);

}  // namespace measure
