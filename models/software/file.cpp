// Software that a user describes: for each op and pass a list of kernels, each with what it moves and how it
// goes over memory. What is not listed is as in `ideal`, whose keys it has too.
#include "models/software/file.hpp"

#include <fmt/format.h>

#include <array>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "models/software/apart.hpp"
#include "models/software/fused.hpp"
#include "models/software/host.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/software.hpp"
#include "models/transformer/access_laws.hpp"

namespace moesim {
namespace {

/// What a kernel goes over.
enum class Over : std::uint8_t { elements, tokens, rows, once };
constexpr std::string_view over_names[] = {"elements", "tokens", "rows", "once"};

static_assert(static_cast<std::size_t>(Module::other) + 1 == module_count, "every module has a name");

constexpr std::string_view fused = "fused";

struct FileKernel {
  std::optional<KernelClass> kernel_class;  ///< none: the op's
  std::string name;                         ///< of its access
  Over over = Over::elements;
  double times = 1;
  double bytes = 0;  ///< for each of what it goes over; 0: as many as the op moves
  Access access{};
  std::int64_t launches = 1, waits = 0;
};

/// Kernels of one op in its passes, and what it keeps; what is not given is as in fused software.
struct FileOp {
  std::array<std::optional<std::vector<FileKernel>>, 3> passes{};
  double kept = -1, working = 0;  ///< bytes for an element
};

using Accesses = std::map<std::string, Access, std::less<>>;

/// Ops whose products run whatever is listed: that is beside them.
bool is_product(Module module) {
  return module == Module::projection || module == Module::experts || module == Module::core;
}

/// Whether an op is of an update, but not the kernel that has all of an optimizer's mathematics.
bool is_beside_fused_update(const Op& op) {
  return op.module == Module::update &&
         (op.kind != OpKind::elementwise || op.update_step != UpdateStep::whole);
}

/// Names of the lists of an op, by OpPass; empty where it has none.
std::array<std::string_view, 3> lists_of(Module module) {
  if (module == Module::update) return {"", "kernels", ""};
  const bool has_both = module == Module::projection || module == Module::experts || module == Module::cast;
  return {"forward", "backward", has_both ? "backward_weight" : ""};
}

Access read_access(Reader& reader) {
  Access access;
  read_fields(reader, access,
              field(&Access::share, {.name = "share",
                                     .help = "of the device's memory bandwidth that its bytes reach",
                                     .fallback = 1.0,
                                     .at_least = 0.01,
                                     .at_most = 10.0}),
              field(&Access::per_cycle, {.name = "per_cycle",
                                         .help = "elements that a multiprocessor handles in a cycle at most; "
                                                 "0: bytes alone count",
                                         .fallback = 0.0,
                                         .at_least = 0.0,
                                         .at_most = 100'000.0}),
              field(&Access::start, {.name = "start",
                                     .help = "of a kernel, before its first byte",
                                     .fallback = Time{},
                                     .at_least = Time{}}));
  return access;
}

Access find_access(const Reader& reader, const std::string& name, const Accesses& own) {
  if (const auto found = own.find(name); found != own.end()) return found->second;
  if (name == fused) return {.name = fused};
  if (const std::optional<Access> found = pytorch::access_named(name)) return *found;
  std::vector<std::string> known{std::string(fused)};
  for (const auto& [one, access] : own) known.push_back(one);
  for (const std::string_view one : pytorch::access_names()) known.emplace_back(one);
  const std::string near = nearest_name(name, known);
  reader.fail("access", fmt::format("unknown '{}' (known: {}{})", name, fmt::join(known, ", "),
                                    near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

constexpr std::string_view class_names[] = {"of_op",     "products",       "grouped", "attention",
                                            "streaming", "gather_scatter", "loss",    "update"};
static_assert(class_names[kernel_class_count - 1] == kernel_class_names[kernel_class_count - 2]);

FileKernel read_kernel(Reader& reader, const Accesses& own) {
  using Kernel = FileKernel;
  Kernel kernel;
  const std::size_t of_class = reader.choice(
      {.name = "class", .help = "under which the report counts it", .fallback = "of_op"}, class_names);
  if (of_class > 0) kernel.kernel_class = static_cast<KernelClass>(of_class - 1);
  read_fields(
      reader, kernel,
      choice(&Kernel::over, over_names,
             {.name = "over",
              .help = "what it goes over: elements of the op's result, those of its tokens (rows for experts "
                      "over the choices of a token), its rows, or one thing",
              .fallback = "elements"}),
      field(&Kernel::times, {.name = "times",
                             .help = "how often as many: 2 for both halves of a gate",
                             .fallback = 1.0,
                             .at_least = 0.001,
                             .at_most = 1'000.0}),
      field(&Kernel::bytes,
            {.name = "bytes",
             .help = "read and written for each of them; 0: as many as a fused kernel of the op moves",
             .fallback = 0.0,
             .at_least = 0.0,
             .at_most = 100'000.0}),
      field(&Kernel::launches,
            {.name = "launches", .help = "that it takes", .fallback = 1, .at_least = 1, .at_most = 100'000}),
      field(&Kernel::waits, {.name = "waits",
                             .help = "of the host for the device behind it: it reads a result",
                             .fallback = 0,
                             .at_least = 0,
                             .at_most = 100'000}));
  kernel.name =
      reader.text({.name = "access",
                   .help = "how it goes over memory: fused, as fused kernels do; a name in \"access\" of the "
                           "software; or one of PyTorch's kernels (docs/extending.md)",
                   .fallback = std::string(fused)});
  if (!reader.is_describing()) kernel.access = find_access(reader, kernel.name, own);
  return kernel;
}

std::vector<FileKernel> read_list(Reader& reader, std::string_view name, const Accesses& own) {
  std::vector<FileKernel> kernels;
  for (Reader& item : reader.items(name, "kernels, one after the other")) {
    kernels.push_back(read_kernel(item, own));
    item.finish();
  }
  return kernels;
}

FileOp read_op(Reader& reader, Module module, const Accesses& own) {
  FileOp op;
  const std::array<std::string_view, 3> names = lists_of(module);
  for (std::size_t pass = 0; pass < names.size(); ++pass) {
    if (names[pass].empty()) continue;
    std::vector<FileKernel> kernels = read_list(reader, names[pass], own);
    if (reader.has(names[pass])) op.passes[pass] = std::move(kernels);
  }
  if (module == Module::update) {
    if (op.passes[1] && op.passes[1]->empty()) reader.fail("kernels", "is empty, expected a kernel");
    return op;
  }
  read_fields(reader, op,
              field(&FileOp::kept, {.name = "kept",
                                    .help = "bytes for each element of the op that forward keeps for "
                                            "backward, in all; below 0: as fused software",
                                    .fallback = -1.0,
                                    .at_least = -1.0,
                                    .at_most = 10'000.0}),
              field(&FileOp::working, {.name = "working",
                                       .help = "bytes for each element that its kernels hold while they run",
                                       .fallback = 0.0,
                                       .at_least = 0.0,
                                       .at_most = 10'000.0}));
  return op;
}

/// Elements of an op's result.
double elements_of(const Op& op) {
  const auto real = [](std::int64_t count) { return static_cast<double>(count); };
  if (op.kind == OpKind::attention)
    return real(op.batch) * real(op.heads) * real(op.sequence) * real(op.value_head_dim);
  if (op.kind != OpKind::grouped_gemm) return real(op.m) * real(op.n);
  if (op.rows_are_depth) return real(std::ssize(op.rows)) * real(op.n) * real(op.k);
  return real(std::accumulate(op.rows.begin(), op.rows.end(), std::int64_t{0})) * real(op.n);
}

double count_of(const Op& op, Over over) {
  const double elements = elements_of(op);
  if (over == Over::elements) return elements;
  if (over == Over::tokens) return elements / static_cast<double>(std::max<std::int64_t>(1, op.top_k));
  return over == Over::once ? 1 : elements / static_cast<double>(std::max<std::int64_t>(1, op.n));
}

void add(const FileKernel& from, const Op& op, std::vector<Op>& kernels) {
  const double count = from.times * count_of(op, from.over);
  const double bytes = from.bytes > 0 ? from.bytes : static_cast<double>(op.bytes.count) / count;
  const std::size_t before = kernels.size();
  pytorch::Kernels(op, kernels).add(from.access, count, bytes, from.kernel_class.value_or(op.kernel_class));
  if (kernels.size() == before) return;
  kernels.back().kernels = from.launches;
  kernels.back().waits = from.waits;
  kernels.back().access.name = from.name;
}

class File final : public Software {
 public:
  using Ops = std::array<std::optional<FileOp>, module_count>;

  File(std::unique_ptr<const Software> rest, Ops ops, bool has_products_apart, bool holds_as_computed,
       const HostTimes& host)
      : rest_(std::move(rest)),
        ops_(std::move(ops)),
        has_products_apart_(has_products_apart),
        holds_as_computed_(holds_as_computed),
        habits_(rest_->habits()) {
    habits_.host = host;
  }

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    const std::vector<FileKernel>* list = list_of(op);
    if (has_products_apart_ && (op.module == Module::projection || op.module == Module::experts)) {
      for (const Op& product : products_apart(op)) rest_->add_kernels(product, kernels);
    } else if (list == nullptr || is_product(op.module)) {
      rest_->add_kernels(op, kernels);
    }
    if (list == nullptr) return;
    for (const FileKernel& kernel : *list) add(kernel, op, kernels);
  }

  double kept_by(const Op& op) const override {
    const std::optional<FileOp>& listed = at(ops_, op.module);
    return listed && listed->kept >= 0 ? listed->kept * elements_of(op) : rest_->kept_by(op);
  }
  double working_bytes(const Op& op) const override {
    const std::optional<FileOp>& listed = at(ops_, op.module);
    return listed ? listed->working * elements_of(op) : 0;
  }
  bool holds_as_computed() const override { return holds_as_computed_; }
  const SoftwareHabits& habits() const override { return habits_; }

 private:
  /// Ops with one list for their backward have it for both gradients.
  const std::vector<FileKernel>* list_of(const Op& op) const {
    const std::optional<FileOp>& listed = at(ops_, op.module);
    if (!listed || is_beside_fused_update(op)) return nullptr;
    const std::array<std::string_view, 3> names = lists_of(op.module);
    const bool is_apart = !at(names, op.pass).empty();
    const auto& list = at(listed->passes, is_apart ? op.pass : OpPass::backward_input);
    return list ? &*list : nullptr;
  }

  std::unique_ptr<const Software> rest_;
  Ops ops_;
  bool has_products_apart_, holds_as_computed_;
  SoftwareHabits habits_;
};

Accesses read_accesses(Reader& reader) {
  Accesses accesses;
  std::optional<Reader> part =
      reader.optional_part("access", "ways over memory by names of your own: share, per_cycle, start");
  if (!part) return accesses;
  const std::vector<std::pair<std::string, Value>> members = part->value().members;
  for (const auto& [name, value] : members) {
    Reader one = part->part(name, "a way over memory");
    accesses[name] = read_access(one);
    one.finish();
  }
  return accesses;
}

File::Ops read_ops(Reader& reader, const Accesses& accesses) {
  File::Ops ops{};
  std::optional<Reader> part = reader.optional_part("ops", "kernels by what ops are in the code of a model");
  if (!part) return ops;
  for (std::size_t module = 0; module < module_count; ++module) {
    std::optional<Reader> one = part->optional_part(module_names[module], "kernels of such ops");
    if (!one) continue;
    ops[module] = read_op(*one, static_cast<Module>(module), accesses);
    one->finish();
  }
  part->finish();
  return ops;
}

/// What a CUDA graph holds is launched at once, and the host cannot wait in the midst of it.
void expect_capturable(const Reader& reader, const File::Ops& ops) {
  for (std::size_t module = 0; module < module_count; ++module) {
    if (!ops[module]) continue;
    const std::array<std::string_view, 3> names = lists_of(static_cast<Module>(module));
    for (std::size_t pass = 0; pass < names.size(); ++pass) {
      if (!ops[module]->passes[pass]) continue;
      for (const FileKernel& kernel : *ops[module]->passes[pass]) {
        if (kernel.waits == 0) continue;
        reader.fail(
            "cuda_graphs",
            fmt::format("captures no kernels that the host waits for, and ops.{}.{} waits {}: expected "
                        "none, or kernels without waits",
                        module_names[module], names[pass], kernel.waits));
      }
    }
  }
}

std::unique_ptr<const Software> make(Reader& reader) {
  const Accesses accesses = read_accesses(reader);
  File::Ops ops = read_ops(reader, accesses);
  const bool are_apart =
      reader.flag({.name = "separate_products",
                   .help = "queries, keys, values and the halves of a gate are products of their own",
                   .fallback = false});
  const bool holds = reader.flag({.name = "holds_as_computed",
                                  .help = "memory is held as autograd does: gradients from when they are "
                                          "computed, and what kernels work with",
                                  .fallback = false});
  const HostTimes host = read_host(reader, {});
  if (host.captures) expect_capturable(reader, ops);
  return std::make_unique<File>(read_fused(reader), std::move(ops), are_apart, holds, host);
}

}  // namespace

std::vector<SoftwarePart> describe_software_file() {
  std::vector<SoftwarePart> parts;
  const auto describe = [&parts](std::string name, std::string sentence, auto read) {
    parts.push_back({std::move(name), std::move(sentence), {}});
    Reader reader = Reader::describing(parts.back().keys);
    read(reader);
  };
  describe("software_op", "one of \"ops\" in a software of kind file, by its name",
           [](Reader& reader) { static_cast<void>(read_op(reader, Module::projection, {})); });
  describe("software_update", "\"update\" in the same",
           [](Reader& reader) { static_cast<void>(read_op(reader, Module::update, {})); });
  describe("software_kernel", "one of the kernels of an op",
           [](Reader& reader) { static_cast<void>(read_kernel(reader, {})); });
  describe("software_access", "one of \"access\" in a software of kind file, by a name of your own",
           [](Reader& reader) { static_cast<void>(read_access(reader)); });
  return parts;
}

extern constexpr Entry<Software> file_software{
    "file", "described by a list of kernels for each op; what is not listed is as in ideal", make};

}  // namespace moesim
