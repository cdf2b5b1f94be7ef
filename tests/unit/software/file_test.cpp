// Software that is described in a file: kernels as they are listed, and what is refused.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/block.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> made(const Value& document) {
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

std::unique_ptr<const Software> described(const std::string& keys) {
  return made(parse_json(R"({"kind": "file")" + (keys.empty() ? "" : ", " + keys) + "}", "test"));
}

std::vector<Op> kernels_of(const Software& software, const Op& op) {
  std::vector<Op> kernels;
  software.add_kernels(op, kernels);
  return kernels;
}

Op norm(OpPass pass) {
  return make_streaming(OpKind::rms_norm, "norm", pass, 4096, 2048, pass == OpPass::forward ? 4 : 6,
                        Module::norm);
}

Op rows(OpPass pass) {
  Op op = make_streaming(OpKind::permute, "permute", pass, 8192, 2048, 3, Module::permute);
  op.top_k = 2;
  return op;
}

constexpr std::int64_t elements = 4096 * 2048;

}  // namespace

TEST_CASE("Kernels of a file stand for their op as they are listed") {
  const auto software = described(R"("ops": {"norm": {"forward": [
      {"bytes": 6, "access": "widened", "launches": 2, "waits": 3},
      {"class": "gather_scatter", "times": 0.5, "bytes": 4, "access": "mine"}, {}], "kept": 10}},
      "access": {"mine": {"share": 0.25, "per_cycle": 2, "start": "3 us"}})");
  const std::vector<Op> kernels = kernels_of(*software, norm(OpPass::forward));
  REQUIRE(kernels.size() == 3);
  CHECK(kernels[0].bytes.count == 6 * elements);
  CHECK(kernels[0].m * kernels[0].n == elements);
  CHECK(kernels[0].kernels == 2);
  CHECK(kernels[0].waits == 3);
  CHECK(kernels[0].kernel_class == KernelClass::streaming);
  CHECK(kernels[0].access.share > 0);
  CHECK(kernels[0].access.name == "widened");
  CHECK(kernels[1].bytes.count == 2 * elements);
  CHECK(kernels[1].m * kernels[1].n == elements / 2);
  CHECK(kernels[1].kernel_class == KernelClass::gather_scatter);
  CHECK(kernels[1].access.share == 0.25);
  CHECK(kernels[1].access.name == "mine");
  CHECK(kernels[1].access.per_cycle == 2);
  CHECK(kernels[1].access.start == Time{3'000'000});
  CHECK(kernels[2].bytes == norm(OpPass::forward).bytes);  // as many as fused
  CHECK(software->kept_by(norm(OpPass::forward)) == 10.0 * elements);
}

TEST_CASE("Kernels of an update stand for its fused kernel, not for passes before and after") {
  const auto software = described(R"("ops": {"update": {"kernels": [{"bytes": 14, "access": "adam"}]}})");
  Op op =
      make_streaming(OpKind::elementwise, "update", OpPass::backward_weight, elements, 1, 30, Module::update);
  CHECK(kernels_of(*software, op).front().bytes.count == 14 * elements);
  op.update_step = UpdateStep::scale;
  CHECK(kernels_of(*software, op).front().bytes == op.bytes);
  Op product = make_gemm("update", OpPass::forward, 64, 64, 64, Precision::bf16);
  product.module = Module::update;
  REQUIRE(kernels_of(*software, product).size() == 1);
  CHECK(kernels_of(*software, product).front().kind == OpKind::gemm);
}

TEST_CASE("A kernel of a file goes over the elements of its op, of its tokens, its rows, or one thing") {
  const auto software = described(R"("ops": {"permute": {"forward": [{"bytes": 8},
      {"bytes": 8, "over": "tokens"}, {"bytes": 8, "over": "rows"}, {"bytes": 8, "over": "once"}]}})");
  const std::vector<Op> kernels = kernels_of(*software, rows(OpPass::forward));
  REQUIRE(kernels.size() == 4);
  CHECK(kernels[0].bytes.count == 8 * 8192 * 2048);
  CHECK(kernels[1].bytes.count == 8 * 4096 * 2048);
  CHECK(kernels[2].bytes.count == 8 * 8192);
  CHECK(kernels[3].bytes.count == 8);
}

TEST_CASE("What a file does not list is as in ideal, whose keys it has") {
  const auto plain = described("");
  const auto ideal = made(parse_json(R"({"kind": "ideal"})", "test"));
  const auto listed = described(R"("ops": {"norm": {"forward": []}}, "streaming_passes": 2)");
  for (const Op& op : {norm(OpPass::forward), norm(OpPass::backward_input), rows(OpPass::forward)}) {
    const std::vector<Op> kernels = kernels_of(*plain, op);
    REQUIRE(kernels.size() == 1);
    CHECK(kernels[0].bytes == kernels_of(*ideal, op)[0].bytes);
    CHECK(plain->kept_by(op) == ideal->kept_by(op));
  }
  CHECK(kernels_of(*listed, norm(OpPass::forward)).empty());
  CHECK(kernels_of(*listed, norm(OpPass::backward_input)).at(0).passes == 2);
}

TEST_CASE("Kernels that are listed for products run beside them, for each gradient its own") {
  const auto software = described(R"("ops": {"projection": {"forward": [{"bytes": 4}],
      "backward_weight": [{"bytes": 8}, {"bytes": 8}]}}, "separate_products": true)");
  const auto count = [&](OpPass pass) {
    const bool is_forward = pass == OpPass::forward;
    Op op = make_gemm("qkv", pass, 4096, is_forward ? 3072 : 1024, is_forward ? 1024 : 3072, Precision::bf16);
    op.columns = {1024, 1024, 1024};
    std::pair<int, int> of{0, 0};
    double flops = 0;
    for (const Op& kernel : kernels_of(*software, op)) {
      ++(kernel.kind == OpKind::gemm ? of.first : of.second);
      flops += kernel.flops.count;
    }
    CHECK(flops == op.flops.count);
    return of;
  };
  CHECK(count(OpPass::forward) == std::pair{3, 1});
  CHECK(count(OpPass::backward_input) == std::pair{3, 0});
}

TEST_CASE("A file says where it is wrong") {
  const auto refusal = [](const std::string& keys) -> std::string {
    try {
      described(keys);
    } catch (const InputError& error) {
      return error.what();
    }
    return "is taken";
  };
  CHECK(refusal(R"("ops": {"norms": {}})").find("software.ops.norms: unknown key") != std::string::npos);
  CHECK(refusal(R"("ops": {"norms": {}})").find("did you mean 'norm'?") != std::string::npos);
  const std::string access = refusal(R"("ops": {"norm": {"forward": [{"access": "widend"}]}})");
  CHECK(access.find("software.ops.norm.forward.0.access: unknown 'widend' (known: fused, ") !=
        std::string::npos);
  CHECK(access.find("did you mean 'widened'?") != std::string::npos);
  CHECK(refusal(R"("ops": {"norm": {"forward": [{"class": "copies"}]}})").find("unknown 'copies'") !=
        std::string::npos);
  CHECK(refusal(R"("ops": {"norm": {"backward_weight": []}})").find("unknown key") != std::string::npos);
  CHECK(refusal(R"("ops": {"update": {"kernels": []}})").find("is empty, expected a kernel") !=
        std::string::npos);
  CHECK(refusal(R"("ops": {"norm": {"forward": [{"bytes": -1}]}})").find("bytes") != std::string::npos);
  const std::string waits = R"("ops": {"router": {"backward": [{}, {"waits": 2}]}})";
  CHECK(refusal(waits) == "is taken");
  for (const std::string graphs : {"layer", "iteration"})
    CHECK(refusal(waits + R"(, "cuda_graphs": ")" + graphs + '"') ==
          "test: software.cuda_graphs: captures no kernels that the host waits for, and ops.router.backward "
          "waits 2: expected none, or kernels without waits");
}

TEST_CASE("The reference code of Llama has the norms of Hugging Face, line by line") {
  const auto reference = made(load_document("configs/software/llama-reference.json"));
  const auto library = made(parse_json(R"({"kind": "hugging_face"})", "test"));
  const Device h200 = testing::device("h200.json");
  for (const OpPass pass : {OpPass::forward, OpPass::backward_input}) {
    std::array<Time, 2> times{};
    for (std::size_t i = 0; i < 2; ++i) {
      for (const Op& kernel : kernels_of(i == 0 ? *reference : *library, norm(pass)))
        times[i] += make_roofline()->time(kernel, h200, 0).time;
    }
    CHECK(to_seconds(times[0]) == Approx(to_seconds(times[1])).epsilon(0.05));
  }
}
