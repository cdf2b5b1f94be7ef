// Laws of the kernels that PyTorch has for what is no product: few kinds, each with one law and the name that
// it is called by. What they reach was read off profiles of one H200 (torch 2.11, CUDA 13;
// configs/validation/software-h200.json): bytes as a share of 4.8 TB/s, and elements per multiprocessor and
// cycle of 132 at 1,980 MHz, within 10 % from 2^18 to 2^30 elements. A calibration of a device has numbers of
// its own in their place (models/cost/access_fit.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "models/transformer/op.hpp"

namespace moesim::pytorch {

namespace kind {

constexpr Access of_bytes(std::string_view name, double terabytes_per_second, std::int64_t start_ns = 400) {
  return {.share = terabytes_per_second / 4.8, .start = Time{start_ns * 1000}, .name = name};
}
constexpr Access of_elements(std::string_view name, double giga_per_second, std::int64_t start_ns = 700) {
  return {.share = 4.45 / 4.8,
          .per_cycle = giga_per_second * 0.505 / 132,
          .start = Time{start_ns * 1000},
          .name = name};
}

/// `vectorized_elementwise_kernel`: operands contiguous, of one type or narrowed.
inline constexpr Access vectorised = of_bytes("vectorised", 4.45), one_read = of_bytes("one_read", 4.27),
                        silu = of_bytes("silu", 3.95, 850),
                        silu_backward = of_bytes("silu_backward", 4.15, 850);
/// `fill`, a copy by the copy engine, rows by index.
inline constexpr Access fill = of_bytes("fill", 3.4, 100), fill_fp32 = of_bytes("fill_fp32", 4.7, 100),
                        copy = of_bytes("copy", 4.0), gather = of_bytes("gather", 4.1, 600);
/// bf16 to fp32.
inline constexpr Access widened = of_elements("widened", 348, 400);
/// `elementwise_kernel`, which works out where each operand lies: one that is no row of its own, a vector for
/// all rows, both, a slice of a wider tensor, a factor for each row.
inline constexpr Access strided = of_elements("strided", 405), broadcast = of_elements("broadcast", 400),
                        strided_broadcast = of_elements("strided_broadcast", 360, 1100),
                        slices = of_elements("slices", 355, 1100),
                        silu_of_slice = of_elements("silu_of_slice", 357),
                        silu_backward_of_slice = of_elements("silu_backward_of_slice", 312),
                        row_factor = of_elements("row_factor", 325, 400),
                        from_rows = of_elements("from_rows", 412, 300),
                        masked_rows = of_elements("masked_rows", 365),
                        expanded = of_elements("expanded", 420, 850);
/// Operands of two types: bf16 by fp32, bf16 by a factor in fp32 for each row.
inline constexpr Access mixed = of_elements("mixed", 262),
                        mixed_row_factor = of_elements("mixed_row_factor", 237);
/// `CatArrayBatchedCopy` of halves, of whole rows, of rows that end on odd places.
inline constexpr Access joined_halves = of_elements("joined_halves", 243, 1800),
                        joined = of_bytes("joined", 4.25),
                        joined_unaligned = of_elements("joined_unaligned", 169);
/// Sums of fp32 rows, and of columns.
inline constexpr Access row_sums = of_bytes("row_sums", 4.3, 7600),
                        short_row_sums = of_bytes("short_row_sums", 1.9, 2000),
                        column_sums = of_bytes("column_sums", 2.7, 8100),
                        strided_column_sums = of_elements("strided_column_sums", 133);
inline constexpr Access softmax = of_bytes("softmax", 2.9),
                        softmax_unaligned = of_elements("softmax_unaligned", 235),
                        softmax_backward = of_bytes("softmax_backward", 4.3),
                        softmax_backward_unaligned = of_elements("softmax_backward_unaligned", 352),
                        maximum = of_bytes("maximum", 2.3), log_softmax = of_bytes("log_softmax", 2.1),
                        log_softmax_backward = of_bytes("log_softmax_backward", 2.97),
                        sums_of_few_rows = of_bytes("sums_of_few_rows", 2.75);
/// Rows added up at their places, `index_put_` after sorting them; an embedding's gradient.
inline constexpr Access index_put = of_elements("index_put", 395, 600),
                        index_put_fp32 = of_elements("index_put_fp32", 332, 600),
                        embedding_gradient = of_elements("embedding_gradient", 70);
/// Rows added up at their places one element at a time, `index_add_`.
inline constexpr Access index_add = of_elements("index_add", 126, 1200);
inline constexpr Access topk = of_elements("topk", 16, 7000), counts = of_bytes("counts", 1.04, 7000);
/// Gradients of keys and values of heads that share them; of those that lie head by head.
inline constexpr Access head_sums = of_bytes("head_sums", 2.45),
                        strided_head_sums = of_elements("strided_head_sums", 219);
/// Fused AdamW: bound by elements with states in bf16, by bytes in fp32.
inline constexpr Access adam{
    .share = 3.3 / 4.8, .per_cycle = 179 * 0.505 / 132, .start = Time{400'000}, .name = "adam"};
/// Batched products of single rows with a matrix each, and of rows with rows, which write one.
inline constexpr Access row_products = of_bytes("row_products", 4.2, 2000),
                        outer_products = of_bytes("outer_products", 1.97, 2000);
/// Products in fp32 off the tensor cores: multiplications and additions, of 128 a cycle and multiprocessor.
inline constexpr Access fp32_product{
    .share = 0.9, .per_cycle = 80, .start = Time{3'000'000}, .name = "fp32_product"};

/// vectorized_layer_norm_kernel: 2^22 to 2^30 elements in rows of 4,096, within 8 %.
inline constexpr Access norm = of_bytes("norm", 3.68, 2700);
/// layer_norm_grad_input_kernel_vectorized.
inline constexpr Access norm_input = of_bytes("norm_input", 2.9, 1500);
/// torch.gather of whole rows that are read several times: from the cache.
inline constexpr Access gather_again = of_bytes("gather_again", 5.1, 600);
/// scatter_add_ of rows: an atomic addition each.
inline constexpr Access scatter_add = of_elements("scatter_add", 262, 2000);
/// One step of an update over lists: 320 blocks do not fill 132 multiprocessors evenly, which each launch
/// pays for.
inline constexpr Access listed = of_bytes("listed", 4.41, 8300);
/// One tensor times a number on the device, its norm, a matrix read across.
inline constexpr Access scaled = of_elements("scaled", 375), vector_norm = of_bytes("vector_norm", 4.4, 4200),
                        across = of_elements("across", 142);
/// `multi_tensor_apply_kernel`: of pairs of tensors a launch takes 320 chunks of 65,536 elements
/// (aten/src/ATen/native/cuda/MultiTensorApply.cuh). Casting fp32 to bf16 it moves 3.52 TB/s, and bf16 alone
/// 700 billion elements a second (configs/validation/software-h200.json, "optimizers": the copy of masters;
/// kernels of one operand).
inline constexpr Access multi_tensor{
    .share = 3.52 / 4.8, .per_cycle = 700 * 0.505 / 132, .start = Time{1'000'000}, .name = "multi_tensor"};
/// `split_with_sizes_copy`, 3.76 TB/s ("parallel": six calls, 12.7 GB each way in 6.8 ms). `chunk_cat` stays
/// below it in the same steps, so that it moves at least 1.9.
inline constexpr Access split{.share = 3.76 / 4.8, .start = Time{1'000'000}, .name = "split"};
inline constexpr Access chunk_cat{.share = 1.9 / 4.8, .start = Time{1'000'000}, .name = "chunk_cat"};

/// A product of complex numbers in fp32 with a factor for each position.
inline constexpr Access complex_product = of_bytes("complex_product", 3.6);
/// Kernels of a few numbers, whose start is all of them: histc, a copy of indices, a scatter of choices.
constexpr Access few(std::int64_t start_ns) {
  return {.share = 1, .start = Time{start_ns * 1000}, .name = "few"};
}

}  // namespace kind

/// The law of that name; none where there is no such.
std::optional<Access> access_named(std::string_view name);
/// All names.
std::span<const std::string_view> access_names();

}  // namespace moesim::pytorch
