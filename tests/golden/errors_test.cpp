// What the program says to wrong input: the exact lines, exit code 2, nothing on standard output, no file.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

const std::string tiny = "scenarios/two-gpus.json";

/// Standard error of a command that must be refused.
std::string refusal(const std::vector<std::string>& arguments, const std::string& input = {}) {
  const Outcome outcome = run_moesim(arguments, input);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  return outcome.err;
}

/// The same for the smallest scenario with some keys set.
std::string refusal_of(const std::vector<std::string>& sets) {
  std::vector<std::string> arguments{"run", tiny};
  for (const std::string& set : sets) arguments.insert(arguments.end(), {"--set", set});
  return refusal(arguments);
}

const std::string see_help = "hint: moesim --help lists commands and options\n";

}  // namespace

TEST_CASE("A command line that cannot be understood is refused with a hint") {
  CHECK(refusal({}) == "error: A subcommand is required\n" + see_help);
  CHECK(refusal({"bogus"}) ==
        "error: unknown command 'bogus' (known: run, schedule, compare, sweep, search, explain, topology, "
        "validate, "
        "import, list, "
        "describe, calibrate, cost)\n" +
            see_help);
  CHECK(refusal({"comapre", "x.json"}) ==
        "error: unknown command 'comapre' (known: run, schedule, compare, sweep, search, explain, topology, "
        "validate, "
        "import, list, "
        "describe, calibrate, cost; did you "
        "mean "
        "'compare'?)\n" +
            see_help);
  CHECK(refusal({"run"}) == "error: SCENARIO is required\n" + see_help);
  CHECK(refusal({"topology"}) == "error: CLUSTER is required\n" + see_help);
  CHECK(refusal({"run", tiny, "extra"}) ==
        "error: The following argument was not expected: extra\n" + see_help);
  CHECK(refusal({"run", tiny, "--bogus"}) ==
        "error: The following argument was not expected: --bogus\n" + see_help);
  CHECK(refusal({"run", tiny, "--format", "xml"}) ==
        "error: --format: xml not in {text,json,csv}\n" + see_help);
  CHECK(refusal({"list", "bogus"}).starts_with("error: unknown family 'bogus' (known: schedule, topology, "));
  CHECK(refusal({"describe", "schedule.dualpip"}).ends_with("did you mean 'dualpipe'?)\n"));
}

TEST_CASE("Faults that cannot be are refused, and a fabric that is cut ends the run") {
  CHECK(refusal_of({"faults.bogus=1"}).find("unknown key") != std::string::npos);
  CHECK(refusal_of({R"(faults.stragglers=[{"device": 2, "slowdown": 2}])"}).find("stragglers.0.device") !=
        std::string::npos);
  CHECK(refusal_of({R"(faults.stragglers=[{"device": 1, "slowdown": 0.5}])"}).find("stragglers.0.slowdown") !=
        std::string::npos);
  CHECK(refusal_of({R"(faults.stragglers=[{"device": 1, "slowdown": 2}, {"device": 1, "slowdown": 3}])"})
            .find("1 is a straggler already") != std::string::npos);
  CHECK(refusal_of({R"(faults.links=[{"between": ["gpu 0"], "rate_left": 0}])"})
            .find("names 1 ends, expected 2") != std::string::npos);
  CHECK(refusal_of({R"(faults.links=[{"between": ["gpu 0", "gpu 1"], "rate_left": 0}])"})
            .find("no link joins 'gpu 0' and 'gpu 1'") != std::string::npos);
  CHECK(refusal_of({R"(faults.links=[{"between": ["gpu 0", "node 0 nvswich"], "rate_left": 0}])"})
            .find("did you mean 'node 0 nvswitch'?") != std::string::npos);
  const std::string costs =
      R"("checkpoint_interval": "600 s", "checkpoint_cost": "1 s", "restart_cost": "1 s")";
  CHECK(refusal_of({"faults.failures={" + costs + "}"}).find("expected per_device_year above 0, or times") !=
        std::string::npos);
  CHECK(refusal_of({R"(faults.failures={"at": ["9 s", "8 s"], )" + costs + "}"}).find("\"8 s\" is earlier") !=
        std::string::npos);
  CHECK(refusal_of({R"(faults.failures={"at": ["9 x"], )" + costs + "}"}).find("unknown unit 'x'") !=
        std::string::npos);
  const Outcome cut = run_moesim(
      {"run", tiny, "--set", R"(faults.links=[{"between": ["gpu 0", "node 0 nvswitch"], "rate_left": 0}])"});
  CHECK(cut.code == 1);
  CHECK(cut.out.empty());
  CHECK(cut.err == "error: the fabric is cut: no way is left from gpu 0 to gpu 1\n");
}

TEST_CASE("A software that recomputes whole layers, and drops nothing, refuses the rest") {
  const std::string eager = "software.kind=hugging_face";
  CHECK(
      refusal_of({eager, "recompute=[\"norm\"]"}) ==
      "error: --set: recompute: names parts of layers, but this software recomputes whole layers or nothing\n"
      "hint: --set recompute=full or --set recompute=[]\n");
  CHECK(refusal({"search", tiny, "--set", eager, "--set", "search.recompute=[\"norm\"]"}) ==
        "error: search.recompute: names parts of layers, but this software recomputes whole layers or "
        "nothing\n");
  CHECK(refusal_of({eager, "dropout=true"}) ==
        "error: --set: dropout: is true, but the models of this software have none\n");
}

TEST_CASE("A key that the software has now is refused where it was, and its place is named") {
  for (const std::string key : {"fused_loss", "update_passes", "placeholder_gradients"})
    CHECK(refusal_of({key + "=true"}) == fmt::format("error: --set: {}: is 'software.{}' now\n", key, key));
  for (const std::string key :
       {"streaming_passes", "attention", "grouped_gemm", "norm_backward", "permutation"})
    CHECK(refusal_of({"cost." + key + "=separate"}) ==
          fmt::format("error: --set: cost.{}: is 'software.{}' now\n", key, key));
  CHECK(refusal_of({"collectives.tensor_backward=in_turn"}) ==
        "error: --set: collectives.tensor_backward: is 'software.tensor_backward' now\n");
}

TEST_CASE("A file that is missing, a folder, empty or no JSON is named with its place") {
  const Folder folder("errors");
  const auto message = [&](const std::string& name) {
    return folder.shorten(refusal({"run", folder.at(name)}));
  };
  folder.write("folder/file", "");
  CHECK(message("none.json") == "error: none.json: no such file\n");
  CHECK(message("folder") == "error: folder: is a directory, expected a JSON file\n");
  folder.write("empty.json", "\n");
  CHECK(message("empty.json") == "error: empty.json: is empty, expected JSON\n");
  CHECK(refusal({"run", "-"}, "") == "error: standard input: is empty, expected JSON\n");
  folder.write("comma.json", "{\"about\": \"x\",\n \"batch\": {\"sequences\" 8}}\n");
  CHECK(message("comma.json") ==
        "error: comma.json: line 2, column 24: wrong JSON: unexpected number literal; expected ':'\n");
  folder.write("huge.json", "{\"about\": 1e999}\n");
  CHECK(message("huge.json") ==
        "error: huge.json: line 1, column 15: wrong JSON: the number 1e999 is too large\n");
  folder.write("list.json", "[]");
  CHECK(message("list.json") == "error: list.json: holds a list, expected an object\n");
  folder.write("a.json", R"({"extends": "b.json"})");
  folder.write("b.json", R"({"extends": "a.json"})");
  CHECK(message("a.json") == "error: a.json: extends: leads in a circle: a.json -> b.json -> a.json\n");
}

TEST_CASE("A part that leads to no file is named with the key that leads there") {
  CHECK(refusal_of({"model=nofile.json"}) ==
        "error: --set: model: 'nofile.json' is no file here or in a folder above, nor an object\n");
  CHECK(refusal_of({"software=hugging_fce"}) ==
        "error: --set: software: 'hugging_fce' is no file here or in a folder above, nor an object\n"
        "hint: did you mean software.kind=hugging_face?\n");
  CHECK(refusal_of({"collectives.gradients=ring"})
            .ends_with("hint: did you mean collectives.gradients.kind=ring?\n"));
  CHECK(refusal_of({"routing.skew=zipf"}).ends_with("hint: did you mean routing.skew.kind=zipf?\n"));
  CHECK(
      refusal_of({"cluster.topology=torus"}).ends_with("hint: did you mean cluster.topology.kind=torus?\n"));
  for (const std::string set : {"schedule=1f1b", "routing=top_k", "gradient_sync=zero2", "optimizer=muon",
                                "cost=calibrated", "engine=fluid"})
    CHECK(refusal_of({set}).ends_with(fmt::format(
        "hint: did you mean {}.kind={}?\n", set.substr(0, set.find('=')), set.substr(set.find('=') + 1))));
  CHECK(refusal_of({"model=3"}) == "error: --set: model: 3 is neither an object nor a file name\n");
  CHECK(refusal({"run", "configs/models/tiny.json"})
            .starts_with("error: configs/models/tiny.json: model: is missing"));
  CHECK(
      refusal({"topology", tiny}) ==
      "error: scenarios/two-gpus.json: name: is missing, expected a text (what reports call the cluster)\n");
  CHECK(refusal({"topology", "configs/clusters/two-gpus.json", "--bytes", "8"}) ==
        "error: --bytes: '8', expected a size of 1 B to 1 PB as \"8 MiB\"\n");
}

TEST_CASE("An unknown key or kind is answered with the known ones and the nearest") {
  const std::string keys = refusal_of({"schedul.kind=gpipe"});
  CHECK(keys.starts_with(
      "error: --set: schedul: unknown key (known: about, batch, budget, certainty, cluster, collectives, "
      "cost, "));
  CHECK(keys.ends_with("did you mean 'schedule'?)\n"));
  const std::string kinds = refusal_of({"schedule.kind=dualpip"});
  CHECK(kinds.starts_with("error: --set: schedule.kind: unknown 'dualpip' (known: "));
  CHECK(kinds.ends_with("did you mean 'dualpipe'?)\n"));
  CHECK(refusal_of({"routing.group=8"}).starts_with("error: --set: routing.group: unknown key (known: "));
  CHECK(refusal({"run", tiny, "--engine", "simgird"})
            .starts_with("error: --set: engine.kind: unknown 'simgird' ("));
  CHECK(refusal_of({"precision.gemm=fp9"}) ==
        "error: --set: precision.gemm: unknown 'fp9' (known: fp32, bf16, fp8, fp4; did you mean 'fp8'?)\n");
  CHECK(refusal_of({R"(recompute=["foo"])"}) ==
        "error: --set: recompute: unknown 'foo' (known: none, full, norm, activation, latent, attention, "
        "experts, core_attn, moe_act, layernorm, mla_up_proj, mlp, moe, shared_experts, uniform=N, "
        "block=N)\n");
  CHECK(refusal_of({R"(parallelism.placement=["tensor"])"}) ==
        "error: --set: parallelism.placement: lacks 'expert', expected all of tensor, context, "
        "expert_tensor, expert, data, "
        "pipeline\n");
}

TEST_CASE("A quantity without a unit, with the wrong one, negative, zero or beyond all bounds is refused") {
  const std::string rate = "cluster.topology.nvlink_rate";
  const std::string expected =
      "expected a rate as \"50 GB/s\" (B/s, MB/s, GB/s, TB/s, or bits: Mb/s, Gb/s, Tb/s)\n";
  CHECK(refusal_of({rate + "=450"}) == fmt::format("error: --set: {}: 450 has no unit, {}", rate, expected));
  CHECK(refusal_of({rate + "=450 GB"}) ==
        fmt::format("error: --set: {}: \"450 GB\" has the unknown unit 'GB', {}", rate, expected));
  CHECK(refusal_of({rate + "=fast"}) ==
        fmt::format("error: --set: {}: \"fast\" does not begin with a number, {}", rate, expected));
  CHECK(refusal_of({rate + "=1e400 GB/s"}) ==
        fmt::format("error: --set: {}: \"1e400 GB/s\" is out of range, {}", rate, expected));
  CHECK(refusal_of({rate + "=1e300 TB/s"}) ==
        fmt::format("error: --set: {}: \"1e300 TB/s\" is too large\n", rate));
  CHECK(refusal_of({rate + "=0 GB/s"}) ==
        fmt::format("error: --set: {}: \"0 GB/s\" is not above zero\n", rate));
  CHECK(refusal_of({rate + "=-1 GB/s"}) ==
        fmt::format("error: --set: {}: \"-1 GB/s\" is not above zero\n", rate));
  CHECK(refusal_of({"collectives.dispatch.startup=-2 us"}) ==
        "error: --set: collectives.dispatch.startup: \"-2 us\" is negative\n");
  CHECK(refusal_of({"collectives.dispatch.startup=2 parsecs"}) ==
        "error: --set: collectives.dispatch.startup: \"2 parsecs\" has the unknown unit 'parsecs', expected "
        "a time as "
        "\"2 us\" (ps, ns, us, ms, s, min, h, d)\n");
  CHECK(refusal_of({"cluster.device.memory=80"}) ==
        "error: --set: cluster.device.memory: 80 has no unit, expected a size as \"64 MB\" (B, kB, MB, GB, "
        "TB, KiB, "
        "MiB, GiB, TiB)\n");
  CHECK(refusal_of({"cluster.device.memory=0 B"}) ==
        "error: --set: cluster.device.memory: is \"0 B\", expected at least \"1 B\"\n");
}

TEST_CASE("A count that is negative, zero, no whole number or too large is refused with its bounds") {
  CHECK(refusal_of({"batch.sequences=-8"}) ==
        "error: --set: batch.sequences: is -8, expected 1 to 1000000000\n");
  CHECK(refusal_of({"batch.sequences=0"}) ==
        "error: --set: batch.sequences: is 0, expected 1 to 1000000000\n");
  CHECK(refusal_of({"batch.sequences=2.5"}) == "error: --set: batch.sequences: 2.5 is not a whole number\n");
  CHECK(refusal_of({"batch.sequences=1e30"}) ==
        "error: --set: batch.sequences: 1e+30 is too large, expected a whole number\n");
  CHECK(refusal_of({"batch.sequences=99999999999999999999"}) ==
        "error: --set: batch.sequences: 1e+20 is too large, expected a whole number\n");
  CHECK(refusal_of({"model.hidden=99999999999"}) ==
        "error: --set: model.hidden: is 99999999999, expected 1 to 1000000\n");
  CHECK(refusal_of({"collectives.dispatch.efficiency=0"}) ==
        "error: --set: collectives.dispatch.efficiency: is 0, expected 0.01 to 1\n");
}

TEST_CASE("Sizes that do not divide are refused with the numbers") {
  const std::string start = "error: scenarios/two-gpus.json: ";
  const std::string set = "error: --set: ";
  CHECK(refusal_of({"parallelism.pipeline=3"}) ==
        start + "parallelism: 2 devices do not divide by pipeline 3 x tensor 1 = 3\n");
  CHECK(refusal_of({"parallelism.expert=3"}) ==
        set + "parallelism.expert: 2 devices of a pipeline rank do not divide by expert 3\n");
  CHECK(refusal_of({"cluster.devices=8", "parallelism.expert=8"}) ==
        set + "parallelism.expert: 4 experts do not divide by expert 8\n");
  CHECK(refusal_of(
            {"cluster.devices=6", "parallelism.expert=1", "parallelism.tensor=3", "batch.sequences=6"}) ==
        set + "parallelism.tensor: 8 attention heads do not divide by tensor 3\n");
  CHECK(refusal_of({"batch.sequences=7"}) ==
        set + "batch.sequences: 7 sequences do not divide by data-parallel 2 x microbatch 1 = 2\n");
  CHECK(refusal_of({"batch.microbatch=3"}) ==
        start + "batch.sequences: 8 sequences do not divide by data-parallel 2 x microbatch 3 = 6\n");
  CHECK(refusal_of({"parallelism.tensor=2", "batch.sequence_length=1023"}) ==
        set + "batch.sequence_length: 1023 tokens do not divide by tensor 2\n");
  CHECK(refusal({"run", "scenarios/mixtral-8x7b-h100.json", "--set", "cluster.devices=12"}) ==
        "error: --set: cluster.devices: is 12, which is no multiple of devices_per_node 8\n");
  CHECK(refusal_of({"model.moe.top_k=5"}) ==
        "error: --set: model.moe.top_k: is 5, expected at most the 4 experts\n");
  CHECK(refusal_of({"model.moe.groups=3"}) ==
        "error: --set: model.moe.groups: 4 experts do not divide into 3 groups\n");
}

TEST_CASE("Layers that cannot be spread over the stages are refused with the numbers") {
  const std::string start = "error: --set: parallelism.layers_per_stage: ";
  const auto on_two_stages = [](const std::string& layers) {
    return refusal_of(
        {"parallelism.pipeline=2", "parallelism.expert=1", "parallelism.layers_per_stage=" + layers});
  };
  CHECK(on_two_stages("[1,1,0]") ==
        start +
            "has 3 entries, expected one for each of 2 stages, or for equal parts "
            "of them\nhint: as --set parallelism.layers_per_stage=[1,1]\n");
  CHECK(on_two_stages("[2,1]") == start + "adds up to 3 layers, expected the model's 2\n");
  CHECK(on_two_stages("[3,-1]") == start + "is -1, expected at least 0\n");
  CHECK(refusal_of({"parallelism.pipeline=2", "parallelism.expert=1", "model.layers=3"}) ==
        "error: scenarios/two-gpus.json: parallelism.layers_per_stage: is missing: 3 layers do not divide by "
        "2 stages "
        "evenly\nhint: say how many layers each stage has, as --set parallelism.layers_per_stage=[2,1]\n");
}

TEST_CASE("Groups of experts that the model's experts do not come in are refused with the numbers") {
  CHECK(refusal_of({"routing.kind=group_limited", "routing.groups=3"}) ==
        "error: --set: routing: 4 experts do not divide into 3 groups\n");
  CHECK(refusal_of({"routing.kind=group_limited", "routing.groups=4", "routing.chosen=1"}) ==
        "error: --set: routing: 1 of 4 groups hold 1 experts, expected at least the 2 of a token\n");
}

TEST_CASE("More microbatches than can be simulated are refused, not run out of memory") {
  CHECK(refusal_of({"batch.sequences=1000000000"}) ==
        "error: --set: batch.sequences: come to 500000000 microbatches of a data-parallel rank, expected at "
        "most "
        "1000000\n");
}

TEST_CASE("A microbatch whose bytes would overflow is refused") {
  CHECK(refusal_of({"batch.sequences=1000000000", "batch.microbatch=500000000"}) ==
        "error: --set: batch.microbatch: is 500000000 sequences of 1024 tokens, expected at most 1000000000 "
        "tokens "
        "together\n");
}

TEST_CASE("A schedule asked for sizes that it cannot serve says so") {
  CHECK(refusal_of({"schedule.kind=dualpipe"}) ==
        "error: --set: schedule: dualpipe: 1 pipeline ranks are odd, expected an even number\n");
}

TEST_CASE("A link that would take forever is an error, not a result") {
  const Outcome outcome = run_moesim({"run", tiny, "--set", "cluster.topology.nvlink_rate=1e-300 GB/s"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err == "error: a time of inf s is beyond what can be simulated (100 days)\n");
}

TEST_CASE("A pipeline whose passes take no time is refused") {
  const std::string replayed = "scenarios/zero-bubble-6.2b.json";
  CHECK(refusal({"run", replayed, "--set", "cost.forward=0 s"}) ==
        "error: --set: cost.forward: is \"0 s\", expected at least \"1 ps\"\n");
  CHECK(refusal({"run", replayed, "--set", "pipeline.stages=0"}) ==
        "error: --set: pipeline.stages: is 0, expected 1 to 30000\n");
}

TEST_CASE("A collective that cannot do its job, and one that holds the whole device, are refused") {
  CHECK(
      refusal_of({"collectives.dispatch.kind=ring"}) ==
      "error: --set: collectives.dispatch: 'ring' does no all_to_all (it does all_reduce, reduce_scatter and "
      "all_gather)\n");
  CHECK(refusal_of({"collectives.communication_sms=132"}) ==
        "error: --set: collectives.communication_sms: is 132, expected less than the 132 multiprocessors of "
        "H100\n");
  CHECK(run_moesim({"run", tiny, "--set", "collectives.communication_sms=131"}).code == 0);
}

TEST_CASE("An override --set without '=', with an empty step and through a number is refused") {
  CHECK(refusal_of({"foo"}) == "error: --set foo: expected KEY=VALUE, as --set schedule.kind=gpipe\n");
  CHECK(refusal_of({"=1"}) == "error: --set =1: expected KEY=VALUE, as --set schedule.kind=gpipe\n");
  CHECK(refusal_of({"batch..x=1"}) ==
        "error: --set batch..x: has an empty step, expected a path as schedule.kind\n");
  CHECK(refusal_of({"batch.sequences.x=3"}) ==
        "error: --set batch.sequences.x: 'x' leads through 8, which has no keys\n");
}

TEST_CASE("An output that cannot be written is refused, and nothing is left") {
  const Folder folder("output");
  const std::string place = folder.at("none") + "/deeper/report.json";
  CHECK(folder.shorten(refusal({"run", tiny, "--out", place})) ==
        "error: none/deeper/report.json: cannot be written: No such file or directory\n");
  CHECK(!std::filesystem::exists(folder.at("none")));
  const std::string directory = std::filesystem::path(folder.at("x")).parent_path().string();
  CHECK(refusal({"run", tiny, "--out", directory}) ==
        "error: " + directory + ": is a directory, expected the name of a file\n");
  CHECK(std::filesystem::is_empty(directory));
}

TEST_CASE("Where the input is wrong no output file is written") {
  const Folder folder("untouched");
  const std::string kept = folder.write("report.txt", "kept");
  refusal({"run", tiny, "--set", "batch.sequences=7", "--out", kept});
  CHECK(run_shell("cat " + kept).out == "kept");
  refusal({"run", tiny, "--set", "batch.sequences=7", "--out", folder.at("new.txt")});
  CHECK(!std::filesystem::exists(folder.at("new.txt")));
}

TEST_CASE("A model that does not fit is reported, not refused") {
  const Outcome outcome = run_moesim({"run", tiny, "--set", "cluster.device.memory=2.24 GB"});
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("2.241 GB of 2.24 GB: DOES NOT FIT\n") != std::string::npos);
  const Value report = json_report(tiny, {"--set", "cluster.device.memory=2.24 GB"});
  CHECK(member(report, {"memory", "fits"}).kind == Value::Kind::boolean);
  CHECK(!member(report, {"memory", "fits"}).flag);
  // On the boundary: the last byte decides.
  const std::int64_t peak = member(report, {"memory", "peak"}).integer;
  const auto fits = [&](std::int64_t memory) {
    const Value at = json_report(tiny, {"--set", fmt::format("cluster.device.memory={} B", memory)});
    return member(at, {"memory", "fits"}).flag;
  };
  CHECK(fits(peak));
  CHECK(!fits(peak - 1));
}

TEST_CASE("Devices that a route cannot reach are refused") {
  const std::string cluster = "configs/clusters/two-gpus.json";
  CHECK(refusal({"topology", cluster, "--to", "2"}) ==
        "error: --from, --to: devices 0 and 2, expected at most 1\n");
  CHECK(refusal({"topology", cluster, "--from", "2"}) ==
        "error: --from, --to: devices 2 and 1, expected at most 1\n");
}
