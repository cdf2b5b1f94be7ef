// The part "collectives", and a communication by itself.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "models/base/error.hpp"
#include "models/config/fields.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/words.hpp"

namespace moesim {
namespace {

/// A communication, and the algorithm that it has where none is given.
struct Way {
  std::string_view name, help, usual;
  Operation operation;
  bool is_exchange = false;  ///< of tokens
};

/// How tokens go, which software may have decided.
TokenExchange read_token_exchange(Reader& reader, const std::optional<TokenExchange>& of_software) {
  const TokenExchange usual = of_software.value_or(TokenExchange::all_to_all);
  const auto way = static_cast<TokenExchange>(reader.choice(
      {.name = "token_exchange",
       .help =
           "how tokens get to experts on other ranks: each token's rows to the ranks of its experts "
           "(all_to_all), or all tokens of an expert group to every rank of it, and results added up over "
           "the ranks where they belong (all_gather; Megatron-Core's dispatcher allgather, \"ring\" "
           "expert parallelism)",
       .fallback = std::string(at(token_exchange_names, usual))},
      token_exchange_names));
  if (of_software && way != usual)
    reader.fail("token_exchange",
                fmt::format("is '{}', but the software exchanges tokens by '{}'",
                            at(token_exchange_names, way), at(token_exchange_names, usual)),
                "megatron_core's moe_token_dispatcher_type says how: allgather, or one of the others");
  return way;
}

/// The name of the algorithm that a part chooses.
std::string_view kind_of(const Reader& chosen, std::string_view usual) {
  const Value* kind = chosen.is_describing() ? nullptr : chosen.value().find("kind");
  return kind == nullptr ? usual : std::string_view(kind->text);
}

/// Libraries of which software calls one, and not another.
constexpr std::string_view libraries[] = {"nccl", "deepep", "hybrid_ep"};

/// Where the algorithm is a library, it is that which the software calls.
void check_library(const Reader& reader, const Way& way, std::string_view kind, std::string_view called) {
  const bool is_library = std::find(std::begin(libraries), std::end(libraries), kind) != std::end(libraries);
  if (called.empty() || !is_library || kind == called || !way.is_exchange) return;
  reader.fail(way.name, fmt::format("is '{}', but the software exchanges tokens with '{}'", kind, called),
              "megatron_core's moe_token_dispatcher_type says with which: alltoall nccl, flex deepep, or "
              "hybrid_ep where moe_flex_dispatcher_backend is hybridep");
}

/// `chosen` is the part of `reader` that is named as the way.
std::shared_ptr<const Collective> make_collective(const Reader& reader, Reader& chosen, const Way& way,
                                                  const Fabric& fabric, Generation generation) {
  if (kind_of(chosen, way.usual) == "nccl" && generation != Generation::none)
    chosen.supply("generation", at(generation_names, generation));
  std::shared_ptr<const Collective> made = make_member(chosen, collectives(), way.help, way.usual);
  if (fabric.device_count() < 2) return made;
  // Asked once here so that an algorithm that cannot do its job is an error of the input, not of the run.
  const DeviceId two[] = {0, 1};
  try {
    static_cast<void>(made->plan({.operation = way.operation, .group = two, .bytes = Bytes{1}}, fabric));
  } catch (const InputError& error) {
    reader.fail(way.name, error.problem());
  }
  return made;
}

/// The same for a communication of the software, whose library it is; notes whose kernels run.
std::shared_ptr<const Collective> make_way(const Reader& reader, Reader& chosen, const Way& way,
                                           Collectives& all, const Fabric& fabric,
                                           const UsualCollectives& usual) {
  const std::string_view kind = kind_of(chosen, way.usual);
  check_library(reader, way, kind, usual.exchanges.library);
  if (kind == "nccl") all.kernels = CommunicationKernels::nccl;
  return make_collective(reader, chosen, way, fabric, usual.generation);
}

/// What has both exchanges of tokens where no key of its own says otherwise; nothing where it is not given.
std::shared_ptr<const Collective> read_experts(Reader& reader, Collectives& all, const Fabric& fabric,
                                               const UsualCollectives& usual) {
  std::optional<Reader> chosen =
      reader.optional_part("experts", "both of these exchanges, where dispatch or combine does not say",
                           member_names(collectives()));
  if (!chosen) return nullptr;
  const Way way{"experts", "both exchanges of tokens", "", all.outward(), true};
  return make_way(reader, *chosen, way, all, fabric, usual);
}

/// What does it where nothing is given: its usual algorithm, or the libraries of the software.
std::string_view usual_library(const UsualCollectives& usual, const Way& way) {
  if (!usual.are_nccl || way.operation == Operation::point_to_point ||
      way.operation == Operation::broadcast || way.operation == Operation::reduce)
    return way.usual;
  return way.is_exchange && !usual.exchanges.library.empty() ? usual.exchanges.library : "nccl";
}

/// The algorithm of each communication.
void read_ways(Reader& reader, Collectives& all, const Fabric& fabric, const UsualCollectives& libraries_run,
               const GradientPlan& plan, ContextExchange context_exchange) {
  const bool to_server = plan.updater == Updater::server;
  const bool in_ring = context_exchange == ContextExchange::ring;
  const std::string_view exchanges = all.token_exchange == TokenExchange::all_gather ? "ring" : "pairwise";
  const std::string_view usual = to_server ? "pairwise" : "ring";
  const struct {
    std::shared_ptr<const Collective> Collectives::*member;
    Way way;
  } ways[] = {
      {&Collectives::dispatch, {"dispatch", "tokens to the experts", exchanges, all.outward(), true}},
      {&Collectives::combine, {"combine", "expert outputs back", exchanges, all.homeward(), true}},
      {&Collectives::gradients,
       {"gradients", "sum of gradients over data-parallel ranks", usual, gradient_operation(plan.updater)}},
      {&Collectives::parameters,
       {"parameters", "updated parameters to data-parallel ranks", usual,
        to_server ? Operation::broadcast : Operation::all_gather}},
      {&Collectives::servers,
       {"servers", "sum of gradients among parameter servers", "ring", Operation::all_reduce}},
      {&Collectives::tensor,
       {"tensor", "activations inside a tensor-parallel group", "ring", Operation::all_gather}},
      {&Collectives::context,
       {"context",
        "keys and values inside a context-parallel group: sends where they go round in a ring, else an "
        "all-gather",
        in_ring ? "pairwise" : "ring", in_ring ? Operation::point_to_point : Operation::all_gather}},
      {&Collectives::expert_tensor,
       {"expert_tensor", "rows inside an expert's tensor-parallel group", "ring", Operation::all_gather}},
      {&Collectives::pipeline,
       {"pipeline", "activations from stage to stage", "pairwise", Operation::point_to_point}}};
  const std::shared_ptr<const Collective> experts = read_experts(reader, all, fabric, libraries_run);
  for (auto [member, way] : ways) {
    way.usual = usual_library(libraries_run, way);
    if (experts && way.is_exchange && !reader.has(way.name)) {
      static_cast<void>(reader.optional_part(way.name, way.help, member_names(collectives())));
      all.*member = experts;
      continue;
    }
    Reader chosen = part_or_empty(reader, way.name, way.help, member_names(collectives()));
    all.*member = make_way(reader, chosen, way, all, fabric, libraries_run);
  }
  // Where kernels of exchanges keep their multiprocessors, that is what compute meets most.
  if (all.dispatch->usual_multiprocessors() > 0) all.kernels = CommunicationKernels::own;
}

/// What communicators and their kernels take of a device.
void read_channels(Reader& reader, Collectives& all, const ExchangeHabits& habits) {
  constexpr std::int64_t most_channels = 1024;
  read_fields(
      reader, all,
      field(
          &Collectives::communication_sms,
          {.name = "communication_sms",
           .help = "multiprocessors that communication kernels hold while they run (NCCL between H200: 24), "
                   "and with which those of experts copy; 0: none, or as many as kernels of experts take "
                   "by default",
           .fallback = habits.multiprocessors,
           .at_least = 0}),
      field(&Collectives::channels,
            {.name = "channels",
             .help = "channels of a communicator, each with a buffer for each neighbour in ring and tree "
                     "(NCCL: 16 across nodes of eight GPUs and NICs)",
             .fallback = 16,
             .at_least = 0,
             .at_most = most_channels}),
      field(
          &Collectives::peer_channels,
          {.name = "peer_channels",
           .help = "channels for single sends to each peer, of groups inside a node (NCCL: 32 over NVSwitch; "
                   "two or one in groups across nodes)",
           .fallback = 32,
           .at_least = 0,
           .at_most = most_channels}));
}

/// What goes on beside communication, and what goes to the next stage.
void read_behaviour(Reader& reader, Collectives& all, const ExchangeHabits& habits) {
  read_fields(
      reader, all,
      field(&Collectives::slowed_by_compute,
            {.name = "slowed_by_compute",
             .help = "how much longer an exchange of tokens takes while its device computes",
             .fallback = habits.slowed_by_compute,
             .at_least = 1.0,
             .at_most = 100.0}),
      choice(
          &Collectives::shared_experts, shared_experts_names,
          {.name = "shared_experts",
           .help = "when shared experts are computed: in_turn, with the others, or beside the exchange that "
                   "brings tokens to these (Megatron-Core's moe_shared_expert_overlap); where a forward is "
                   "beside a backward, or a tensor group shares them, always in turn",
           .fallback = "in_turn"}),
      choice(
          &Collectives::stage_sends, stage_sends_names,
          {.name = "stage_sends",
           .help = "what each rank of a tensor group sends to the next stage where all hold the same, which "
                   "is without sequence_parallel: whole, all of it (Megatron-Core), or scattered, its part, "
                   "which the receiving group gathers (Megatron-LM before, Megatron-DeepSpeed; arXiv "
                   "2104.04473)",
           .fallback = "whole"}),
      choice(
          &Collectives::stage_messages, stage_message_names,
          {.name = "stage_messages",
           .help = "messages between stages: free, each as soon as it can, or in_turn, those of a rank one "
                   "after the other as its passes come to their sends and receives, on one communicator "
                   "(torch.distributed.pipelining)",
           .fallback = "free"}));
}

bool is_pair(Operation operation) { return operation == Operation::point_to_point; }

std::string_view usual_of(Operation operation) {
  const bool in_ring = operation == Operation::all_reduce || operation == Operation::reduce_scatter ||
                       operation == Operation::all_gather;
  return in_ring ? "ring" : "pairwise";
}

Fit fits_group(const OneCommunication& communication, std::int64_t devices) {
  const bool pair = is_pair(communication.operation);
  const std::int64_t size = communication.group_size;
  if (size >= 2 && devices % size == 0 && (!pair || size == 2)) return {};
  return Misfit("group_size", "is {}, expected {} and a divisor of {} devices", size,
                std::string_view(pair ? "2" : "at least 2"), devices);
}

}  // namespace

Collectives read_collectives(Reader reader, const Fabric& fabric, const UsualCollectives& usual,
                             const GradientPlan& gradients, ContextExchange context_exchange) {
  Collectives all;
  all.token_exchange = read_token_exchange(reader, usual.exchanges.way);
  read_ways(reader, all, fabric, usual, gradients, context_exchange);
  read_channels(reader, all, usual.exchanges);
  if (all.communication_sms == 0 && !reader.is_describing())
    all.communication_sms =
        std::max(all.dispatch->usual_multiprocessors(), all.combine->usual_multiprocessors());
  read_behaviour(reader, all, usual.exchanges);
  reader.finish();
  return all;
}

OneCommunication read_communication(Reader reader, const Fabric& fabric, Generation generation,
                                    std::string& words) {
  OneCommunication communication;
  read_fields(reader, communication,
              choice(&OneCommunication::operation, operation_names,
                     {.name = "operation", .help = "what the ranks of a group do together"}),
              field(&OneCommunication::bytes,
                    {.name = "bytes",
                     .help = "of the whole buffer; all_to_all: what a rank has for all, itself included",
                     .at_least = Bytes{1}}));
  const Operation operation = communication.operation;
  const auto devices = static_cast<std::int64_t>(fabric.device_count());
  communication.group_size = reader.integer({.name = "group_size",
                                             .help = "neighbouring devices that form a group (0: all)",
                                             .fallback = is_pair(operation) ? 2 : 0,
                                             .at_least = 0});
  if (communication.group_size == 0) communication.group_size = devices;
  const Way way{"collective", "the algorithm", usual_of(operation), operation};
  Reader chosen = part_or_empty(reader, way.name, way.help, member_names(collectives()));
  communication.collective = make_collective(reader, chosen, way, fabric, generation);
  words = words_of(chosen, way.usual);
  reader.finish();
  reader.expect(fits_group, communication, devices);
  return communication;
}

}  // namespace moesim
