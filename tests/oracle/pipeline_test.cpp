// Closed formulas of pipeline schedules at sends that take no time: whole picoseconds, compared exactly; and
// published bubble rates and makespans at given durations.
#include <catch2/catch.hpp>

#include "models/base/random.hpp"
#include "tests/support/orders.hpp"

using namespace moesim;
using testing::durations_of;
using testing::schedule_of;
using testing::work_of;

namespace {

Replay run(const std::string& schedule, const PipelineShape& shape) {
  return replay(schedule_of(schedule)->order(shape), durations_of(shape));
}

/// F, B and W.
struct Costs {
  std::int64_t forward, input, weight;
};

PipelineShape pipeline(std::int64_t ranks, std::int64_t microbatches, const Costs& costs) {
  return {.ranks = ranks,
          .microbatches = microbatches,
          .forward = Time{costs.forward},
          .backward_input = Time{costs.input},
          .backward_weight = Time{costs.weight},
          .send = {}};
}

Time round_of(const PipelineShape& shape) {
  return shape.forward + shape.backward_input + shape.backward_weight;
}

/// Calls `law` with pipelines of 1 to 12 ranks and 1 to 40 microbatches at a few costs.
template <class Law>
void for_pipelines(std::initializer_list<Costs> all, Law law) {
  for (const Costs& costs : all) {
    for (std::int64_t p = 1; p <= 12; ++p) {
      for (std::int64_t m = 1; m <= 40; m += m < 13 ? 1 : 9) {
        INFO(p << " ranks, " << m << " microbatches, F " << costs.forward << ", B " << costs.input << ", W "
               << costs.weight);
        law(pipeline(p, m, costs));
      }
    }
  }
}

constexpr Costs unit{1, 1, 1}, long_backward{7, 10, 4}, long_weight{5, 3, 11};

/// Durations that a paper gives, in a unit of `scale` picoseconds.
struct PublishedCosts {
  double forward, input, weight, pair, send;
};

PassDurations published(const PublishedCosts& costs, double scale) {
  const auto time = [&](double cost) { return Time{std::llround(cost * scale)}; };
  return {.forward = time(costs.forward),
          .backward_input = time(costs.input),
          .backward_weight = time(costs.weight),
          .overlapped = time(costs.pair),
          .send = time(costs.send)};
}

}  // namespace

TEST_CASE("One microbatch at a time takes p m (F + B)") {
  for_pipelines({unit, long_backward, long_weight}, [](const PipelineShape& shape) {
    CHECK(run("sequential", shape).makespan == round_of(shape) * (shape.ranks * shape.microbatches));
  });
}

TEST_CASE("GPipe and 1F1B take (m + p - 1)(F + B)") {
  for_pipelines({unit, long_backward, long_weight}, [](const PipelineShape& shape) {
    const Time expected = round_of(shape) * (shape.microbatches + shape.ranks - 1);
    CHECK(run("gpipe", shape).makespan == expected);
    CHECK(run("1f1b", shape).makespan == expected);
  });
}

TEST_CASE("Interleaving v chunks divides the bubble of 1F1B by v") {
  for (const std::int64_t chunks : {1, 2, 3, 7}) {
    const std::string schedule = fmt::format(R"({{"kind": "interleaved", "chunks": {}}})", chunks);
    for_pipelines({unit, long_backward, long_weight}, [&](PipelineShape shape) {
      if (shape.microbatches > 5) return;
      shape.microbatches *= shape.ranks;  // durations are those of a chunk: (p-1)(F+B)/v of a stage
      CHECK(run(schedule, shape).makespan == work_of(shape) * chunks + round_of(shape) * (shape.ranks - 1));
    });
  }
}

TEST_CASE("Breadth first over v chunks divides the bubble of GPipe by v") {
  for (const std::int64_t chunks : {1, 2, 3}) {
    const std::string schedule = fmt::format(R"({{"kind": "looped_bfs", "chunks": {}}})", chunks);
    for_pipelines({unit, long_backward, long_weight}, [&](const PipelineShape& shape) {
      if (shape.microbatches < shape.ranks) return;  // durations are those of a chunk
      CHECK(run(schedule, shape).makespan == work_of(shape) * chunks + round_of(shape) * (shape.ranks - 1));
    });
  }
}

TEST_CASE("Interleaving v chunks divides the bubble of ZB-H1 by v where W is the shortest pass") {
  for (const std::int64_t chunks : {1, 2, 3, 7}) {
    const std::string schedule = fmt::format(R"({{"kind": "zb_interleaved", "chunks": {}}})", chunks);
    for_pipelines({unit, long_backward, {9, 5, 5}, {4, 8, 1}}, [&](PipelineShape shape) {
      if (shape.microbatches > 5) return;
      shape.microbatches *= shape.ranks;
      const Time bubble = (shape.forward + shape.backward_input - shape.backward_weight) * (shape.ranks - 1);
      CHECK(run(schedule, shape).makespan == work_of(shape) * chunks + bubble);
    });
  }
}

TEST_CASE("ZB-H1 leaves (p - 1)(F + B - W) of bubble where W is the shortest pass, never less") {
  for_pipelines({unit, long_backward, {9, 5, 5}, {4, 8, 1}, long_weight}, [](const PipelineShape& shape) {
    if (shape.microbatches < shape.ranks) return;
    const Time formula =
        work_of(shape) + (shape.forward + shape.backward_input - shape.backward_weight) * (shape.ranks - 1);
    const Time makespan = run("zb_h1", shape).makespan;
    CHECK(makespan >= formula);
    if (shape.backward_weight <= std::min(shape.forward, shape.backward_input)) CHECK(makespan == formula);
  });
}

TEST_CASE("ZB-H2 leaves (p - 1)(F + B - 2W) of bubble in its own span where W is at most F, never less") {
  for_pipelines({unit, long_backward, {9, 5, 5}, {4, 8, 1}, {6, 3, 6}, long_weight},
                [](const PipelineShape& shape) {
                  if (shape.microbatches < 2 * shape.ranks - 1) return;
                  const Time bubble =
                      (shape.forward + shape.backward_input - shape.backward_weight * 2) * (shape.ranks - 1);
                  const Time formula = work_of(shape) + std::max(Time{}, bubble);
                  const Time span = run("zb_h2", shape).longest_span();
                  CHECK(span >= formula);
                  if (shape.backward_weight <= shape.forward) CHECK(span == formula);
                });
}

TEST_CASE("ZB-V has no bubble in its own span when F = B = W and there are 2p - 1 microbatches, else one") {
  for_pipelines({unit, {5, 5, 5}}, [](const PipelineShape& shape) {
    const bool none = run("zb_v", shape).longest_span() == work_of(shape) * 2;
    CHECK(none == (shape.microbatches >= 2 * shape.ranks - 1));
  });
}

// The orders of the authors' public code (sail-sg/zero-bubble-pipeline-parallelism, commit 39f2c186,
// zbv_greedy.py) at F = B = W of a chunk: cells of the longest span. V-Min of a multiple of three ranks is
// one cell longer here.
TEST_CASE("V-Half and V-Min take as long as their published orders") {
  struct Case {
    std::int64_t ranks, microbatches, half, least;
  };
  const Case c = GENERATE(Case{4, 8, 53, 59}, Case{4, 20, 125, 131}, Case{7, 21, 143, 149},
                          Case{8, 24, 161, 171}, Case{6, 18, 119, 126}, Case{9, 27, 185, 192});
  const PipelineShape shape = pipeline(c.ranks, c.microbatches, unit);
  CAPTURE(c.ranks, c.microbatches);
  CHECK(run("v_half", shape).makespan == Time{c.half});
  CHECK(run("v_min", shape).makespan == Time{c.least});
}

TEST_CASE("V-Half and V-Min take as long as their published orders where F, B and W differ") {
  PipelineShape shape = pipeline(8, 24, {100, 110, 90});
  shape.send = Time{5};
  CHECK(run("v_half", shape).makespan == Time{16620});
  CHECK(run("v_min", shape).makespan == Time{19310});  // its ranks wait for each other in every period
  shape.microbatches = 48;
  CHECK(run("v_half", shape).makespan == Time{31020});
  CHECK(run("v_min", shape).makespan == Time{35750});
}

TEST_CASE("V-Half has half of 1F1B's bubble with many microbatches, V-Min two thirds") {
  for (const std::int64_t p : {8, 16, 32}) {
    CAPTURE(p);
    const PipelineShape shape = pipeline(p, 8 * p, unit);
    const auto over_plain = [&](const char* kind) {
      return (run(kind, shape).makespan - work_of(shape) * 2) / (round_of(shape) * (2 * (p - 1)));
    };
    CHECK(over_plain("v_half") < 0.55);
    CHECK(over_plain("v_min") < 0.7);
  }
}

// Zero bubble, arXiv 2401.10241: ZB-H2 (section 2.3), the searched orders (section 3) and ZB-V (section 6)
// end as parallelograms, and need an optimizer that validates afterwards (section 4). ZB-H1 and the others
// end with a flush: GPipe (arXiv 1811.06965), 1F1B and interleaving (arXiv 2104.04473), Chimera (arXiv
// 2107.06925), DualPipe (arXiv 2412.19437).
TEST_CASE(
    "Ranks flow into the next step where the schedule's paper says so, elsewhere a rank spans the step") {
  const std::vector<std::string> flowing{"zb_h2", "zb_v", "zb_auto"};
  for (const auto* entry : schedules()) {
    const std::string kind(entry->name);
    const bool flows = std::find(flowing.begin(), flowing.end(), kind) != flowing.end();
    for_pipelines({unit}, [&](PipelineShape shape) {
      if (shape.ranks % 2 == 1 || shape.ranks > 8 || shape.microbatches > 3) return;
      shape.microbatches *= 2 * shape.ranks;
      CAPTURE(kind);
      const Order order = schedule_of(kind)->order(shape);
      CHECK(order.flows_into_next_step == flows);
      const Replay times = replay(order, durations_of(shape));
      if (!flows) CHECK(times.longest_span() == times.makespan);
      // zb_auto at 1F1B's memory leaves ranks the bubble of ZB-H1.
      if (flows && kind != "zb_auto") CHECK(times.longest_span() < times.makespan);
    });
  }
}

TEST_CASE("Chimera wastes (p - 2)/(2m + p - 2) of its time when F and B take the same") {
  for_pipelines({{2, 1, 1}, {9, 5, 4}}, [](PipelineShape shape) {
    if (shape.microbatches > 10) return;
    shape.ranks += shape.ranks % 2;
    shape.microbatches *= shape.ranks;
    // A bubble of (p-2)/2 rounds beside m rounds of work.
    CHECK(run("chimera", shape).makespan ==
          work_of(shape) + round_of(shape) * (shape.ranks - 2) / std::int64_t{2});
  });
}

TEST_CASE("DualPipe and DualPipeV leave (p/2 - 1)(FB + B - 3W) of bubble at unit costs") {
  for_pipelines({unit, {5, 5, 5}}, [](PipelineShape shape) {
    const Time bubble_step = shape.forward * 2;  // FB = 3, B = 2
    shape.microbatches += 2 * shape.ranks - 1;
    CHECK(run("dualpipev", shape).makespan == work_of(shape) * 2 + bubble_step * (shape.ranks - 1));
    shape.ranks *= 2;
    shape.microbatches *= 2;
    CHECK(run("dualpipe", shape).makespan == work_of(shape) + bubble_step * (shape.ranks / 2 - 1));
  });
}

TEST_CASE("DualPipe takes as long as its published order at other costs") {
  struct Case {
    std::int64_t ranks, microbatches;
    PublishedCosts costs;
    double makespan;
  };
  // Makespans of the published order (deepseek-ai/DualPipe, commit 3da1bbea5360), every pass as soon as its
  // data are there; that of 8 ranks and 20 microbatches has the 66 columns of its figure.
  const Case c = GENERATE(Case{8, 20, {1, 1, 1, 3, 0}, 66}, Case{8, 16, {1, 1, 1, 3, 0}, 54},
                          Case{8, 40, {1, 1, 1, 3, 0}, 126}, Case{16, 32, {1, 1, 1, 3, 0}, 110},
                          Case{16, 120, {1, 1, 1, 3, 0}, 374}, Case{4, 8, {1, 1, 1, 3, 0}, 26},
                          Case{8, 20, {1, 1, 1, 2.4, 0}, 57.6}, Case{8, 20, {1, 1.3, 0.7, 2.2, 0}, 56.6},
                          Case{16, 120, {1, 1.7, 0.6, 2.6, 0}, 344.6}, Case{8, 20, {1, 1, 1, 3, 0.1}, 68.6});
  const Order order = schedule_of("dualpipe")->order({.ranks = c.ranks, .microbatches = c.microbatches});
  CHECK(replay(order, published(c.costs, 10)).makespan == Time{std::llround(c.makespan * 10)});
}

TEST_CASE("DualPipeV on four ranks takes as long as DualPipe on eight with twice the microbatches") {
  const PassDurations durations = published({1, 1, 1, 3, 0}, 1);
  CHECK(replay(schedule_of("dualpipev")->order({.ranks = 4, .microbatches = 10}), durations).makespan ==
        Time{66});
}

// Qi et al., arXiv 2401.10241, table 5: rates from profiled times of the 6.2B model on eight ranks. A rate is
// the part of the longest span that is no work; of ranks that cannot flow into the next step, of the
// makespan.
TEST_CASE("Published bubble rates of 1F1B, ZB-H1, ZB-H2 and the interleaved schedule come out") {
  struct Case {
    std::int64_t microbatches;
    PublishedCosts ms;
    double plain, h1, h2, interleaved;
  };
  const Case c = GENERATE(Case{24, {29.718, 29.444, 19.927, 0, 0.527}, 0.2347, 0.1323, 0.0698, 0.0808},
                          Case{32, {29.802, 29.428, 19.530, 0, 0.577}, 0.1898, 0.1045, 0.0559, 0.0628},
                          Case{64, {29.935, 29.621, 19.388, 0, 0.535}, 0.1091, 0.0554, 0.0294, 0.0320});
  const PassDurations durations = published(c.ms, 1e9);
  const auto rate = [&](const std::string& schedule) {
    const Order order = schedule_of(schedule)->order({.ranks = 8, .microbatches = c.microbatches});
    const Replay times = replay(order, durations);
    const Time work =
        (durations.forward + durations.backward_input + durations.backward_weight) * c.microbatches;
    return 1 - work / (order.flows_into_next_step ? times.longest_span() : times.makespan);
  };
  CHECK(rate("1f1b") == Approx(c.plain).margin(1e-4));
  CHECK(rate("zb_h1") == Approx(c.h1).margin(1e-4));
  CHECK(rate("zb_h2") == Approx(c.h2).margin(1e-4));

  const Order order = schedule_of(R"({"kind": "interleaved", "chunks": 4})")
                          ->order({.ranks = 8, .microbatches = c.microbatches});
  PassDurations of_chunk = published(c.ms, 0.25e9);
  of_chunk.send = durations.send;
  const Time work =
      (of_chunk.forward + of_chunk.backward_input + of_chunk.backward_weight) * 4 * c.microbatches;
  CHECK(1 - work / replay(order, of_chunk).makespan == Approx(c.interleaved).margin(0.004));
}
