// A torus of any number of dimensions: each chip has a cable to its neighbour in each, and routes go along
// one dimension after the other, the shorter way round. TPU v2 and v3 pods are two-dimensional (Jouppi et
// al., "A Domain Specific Supercomputer for Training Deep Neural Networks", CACM 2020), TPU v4 slices
// three-dimensional.
//
// Chip n has the coordinates that its number spells, the last dimension fastest. Half way round an even ring
// both ways are as short, and traffic takes half and half: all links of a dimension then carry the same in an
// all-to-all.
#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/cluster/cable.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

/// One dimension: its extent, what a step along it adds to a chip's number, and where its links begin.
struct Dimension {
  std::uint32_t extent = 1;
  bool wraps = true;
  std::uint32_t stride = 1;
  LinkId first_link = 0;

  std::uint32_t coordinate(std::uint32_t chip) const { return chip / stride % extent; }
  /// Cables of one line.
  std::uint32_t cables() const { return wraps ? extent : extent - 1; }
  std::uint32_t next(std::uint32_t chip) const {
    return coordinate(chip) + 1 < extent ? chip + stride : chip - (extent - 1) * stride;
  }
  std::uint32_t previous(std::uint32_t chip) const {
    return coordinate(chip) > 0 ? chip - stride : chip + (extent - 1) * stride;
  }
  /// The upward link of the cable from a chip to the next one; the way back has the number after it.
  LinkId link(std::uint32_t chip) const {
    const std::uint32_t line = chip / (extent * stride);
    return first_link + 2 * ((line * cables() + coordinate(chip)) * stride + chip % stride);
  }
};

/// How far and which way round from one coordinate to another.
struct Leg {
  std::uint32_t hops = 0;
  bool upward = true;
  bool either = false;  ///< the other way round is as short
};

Leg leg(const Dimension& dimension, std::uint32_t from, std::uint32_t to) {
  if (!dimension.wraps) return {from < to ? to - from : from - to, from < to, false};
  const std::uint32_t up = (to + dimension.extent - from) % dimension.extent;
  const std::uint32_t down = dimension.extent - up;
  return {std::min(up, down), up <= down, up == down};
}

/// Which coordinates, and which cores of a chip, the members of a group have.
struct Box {
  std::vector<std::vector<bool>> has;  // by dimension, then coordinate
  std::vector<std::uint32_t> members;  // by dimension: how many coordinates
  std::uint32_t cores = 0;
};

class Torus final : public Topology {
 public:
  Torus(std::vector<Dimension> dimensions, std::uint32_t cores, const Cable& link, const Cable& core)
      : dimensions_(std::move(dimensions)), cores_(cores), link_(link), core_(core) {
    for (std::size_t d = dimensions_.size(); d-- > 0;) {
      dimensions_[d].stride = chips_;
      chips_ *= dimensions_[d].extent;
    }
    LinkId first = cores_ > 1 ? 2 * cores_ * chips_ : 0;
    for (Dimension& dimension : dimensions_) {
      dimension.first_link = first;
      first += 2 * (chips_ / dimension.extent) * dimension.cables();
    }
  }

  Wiring wire(std::uint32_t devices) const override;
  void route(const Wiring& wiring, DeviceId from, DeviceId to, std::vector<LinkId>& links) const override {
    route_way(wiring, from, to, 0, links);
  }
  std::uint32_t ways(const Wiring& wiring, DeviceId from, DeviceId to) const override;
  void route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t way,
                 std::vector<LinkId>& links) const override;
  bool add_all_to_all(const Wiring& wiring, std::span<const DeviceId> group, double bytes,
                      std::span<double> load) const override;

 private:
  Box box_of(std::span<const DeviceId> group) const;
  void add_line_loads(std::size_t d, const Box& box, double bytes, std::span<double> load) const;
  std::string name_of(std::uint32_t chip) const;

  std::vector<Dimension> dimensions_;
  std::uint32_t cores_ = 1;
  std::uint32_t chips_ = 1;
  Cable link_, core_;
};

std::string Torus::name_of(std::uint32_t chip) const {
  std::vector<std::uint32_t> at;
  for (const Dimension& dimension : dimensions_) at.push_back(dimension.coordinate(chip));
  return fmt::format("chip ({})", fmt::join(at, ", "));
}

Wiring Torus::wire(std::uint32_t devices) const {
  if (devices != chips_ * cores_) {
    std::vector<std::uint32_t> extents;
    for (const Dimension& dimension : dimensions_) extents.push_back(dimension.extent);
    throw InputError("", fmt::format("is {}, expected {}: dimensions {} with cores_per_chip {}", devices,
                                     chips_ * cores_, fmt::join(extents, " x "), cores_));
  }
  Wiring wiring{.devices = devices, .devices_per_node = cores_, .vertices = {}, .links = {}};
  for (const Dimension& dimension : dimensions_) wiring.grid.push_back(dimension.extent);
  for (DeviceId device = 0; device < devices; ++device) {
    wiring.vertices.push_back(
        {.name = cores_ > 1 ? fmt::format("core {}", device) : name_of(device), .node = device / cores_});
  }
  for (std::uint32_t chip = 0; cores_ > 1 && chip < chips_; ++chip) {
    wiring.vertices.push_back({.name = name_of(chip), .node = chip});
  }
  const std::uint32_t first_chip = cores_ > 1 ? devices : 0;
  for (DeviceId device = 0; cores_ > 1 && device < devices; ++device) {
    lay(wiring, core_, device, first_chip + device / cores_);
  }
  for (const Dimension& dimension : dimensions_) {
    ensure(wiring.links.size() == dimension.first_link, "links of a torus are numbered as routes expect");
    for (std::uint32_t chip = 0; chip < chips_; ++chip) {
      if (dimension.coordinate(chip) >= dimension.cables()) continue;
      ensure(wiring.links.size() == dimension.link(chip), "links of a torus are numbered as routes expect");
      lay(wiring, link_, first_chip + chip, first_chip + dimension.next(chip));
    }
  }
  return wiring;
}

std::uint32_t Torus::ways(const Wiring&, DeviceId from, DeviceId to) const {
  std::uint32_t ways = 1;
  for (const Dimension& dimension : dimensions_) {
    const Leg way = leg(dimension, dimension.coordinate(from / cores_), dimension.coordinate(to / cores_));
    if (way.either && way.hops > 0) ways *= 2;
  }
  return ways;
}

void Torus::route_way(const Wiring&, DeviceId from, DeviceId to, std::uint32_t way,
                      std::vector<LinkId>& links) const {
  if (from == to) return;
  if (cores_ > 1) links.push_back(2 * from);
  std::uint32_t chip = from / cores_;
  for (const Dimension& dimension : dimensions_) {
    Leg along = leg(dimension, dimension.coordinate(chip), dimension.coordinate(to / cores_));
    if (along.either && along.hops > 0) {  // the bits of `way` say which side of each tie
      along.upward = way % 2 == 0;
      way /= 2;
    }
    for (std::uint32_t hop = 0; hop < along.hops; ++hop) {
      const std::uint32_t beside = along.upward ? dimension.next(chip) : dimension.previous(chip);
      links.push_back(along.upward ? dimension.link(chip) : dimension.link(beside) + 1);
      chip = beside;
    }
  }
  if (cores_ > 1) links.push_back(2 * to + 1);
}

Box Torus::box_of(std::span<const DeviceId> group) const {
  Box box;
  std::vector<bool> cores(cores_, false);
  for (const Dimension& dimension : dimensions_) box.has.emplace_back(dimension.extent, false);
  for (const DeviceId device : group) {
    cores[device % cores_] = true;
    for (std::size_t d = 0; d < dimensions_.size(); ++d)
      box.has[d][dimensions_[d].coordinate(device / cores_)] = true;
  }
  for (const std::vector<bool>& has : box.has)
    box.members.push_back(static_cast<std::uint32_t>(std::count(has.begin(), has.end(), true)));
  box.cores = static_cast<std::uint32_t>(std::count(cores.begin(), cores.end(), true));
  return box;
}

/// Adds what lines along dimension d carry. A message passes the dimensions before d first and those after it
/// later, so on d it is on the line that its destination's coordinates before d and its source's after d
/// name: each such line has one source for each coordinates before d, one destination for each after d, and
/// all lines carry the same.
void Torus::add_line_loads(std::size_t d, const Box& box, double bytes, std::span<double> load) const {
  const Dimension& dimension = dimensions_[d];
  const std::uint32_t extent = dimension.extent;
  // How many messages of a pair of coordinates each cable carries, as differences between neighbours: upward
  // from a run's first cable, and downward alike.
  std::vector<double> up(2 * extent + 1), down(2 * extent + 1);
  for (std::uint32_t from = 0; from < extent; ++from) {
    for (std::uint32_t to = 0; to < extent; ++to) {
      if (from == to || !box.has[d][from] || !box.has[d][to]) continue;
      const Leg along = leg(dimension, from, to);
      const double share = along.either ? 0.5 : 1;
      if (along.upward || along.either) {
        up[from] += share;
        up[from + along.hops] -= share;
      }
      if (!along.upward || along.either) {  // the cables of a run downward begin where it ends
        down[to] += share;
        down[to + along.hops] -= share;
      }
    }
  }
  for (std::vector<double>* run : {&up, &down}) {
    for (std::size_t i = 1; i < run->size(); ++i) (*run)[i] += (*run)[i - 1];
    for (std::uint32_t i = 0; i < extent; ++i) (*run)[i] += (*run)[i + extent];
  }
  double each = bytes * box.cores * box.cores;
  for (std::size_t e = 0; e < dimensions_.size(); ++e) each *= e == d ? 1 : box.members[e];
  for (std::uint32_t chip = 0; chip < chips_; ++chip) {
    const std::uint32_t at = dimension.coordinate(chip);
    bool on_line = at < dimension.cables();
    for (std::size_t e = 0; e < dimensions_.size(); ++e)
      on_line = on_line && (e == d || box.has[e][dimensions_[e].coordinate(chip)]);
    if (!on_line) continue;
    load[dimension.link(chip)] += each * up[at];
    load[dimension.link(chip) + 1] += each * down[at];
  }
}

bool Torus::add_all_to_all(const Wiring&, std::span<const DeviceId> group, double bytes,
                           std::span<double> load) const {
  const Box box = box_of(group);
  std::uint64_t places = box.cores;
  for (const std::uint32_t members : box.members) places *= members;
  if (places != group.size()) return false;  // not all combinations of its coordinates
  for (std::size_t d = 0; d < dimensions_.size(); ++d) add_line_loads(d, box, bytes, load);
  for (const std::size_t device : group) {
    if (cores_ == 1) break;
    load[2 * device] += bytes * static_cast<double>(group.size() - 1);
    load[2 * device + 1] += bytes * static_cast<double>(group.size() - 1);
  }
  return true;
}

/// A pod of more chips than the fabric numbers is refused where the cluster's devices are counted.
constexpr std::int64_t most_chips = 1'048'576;
constexpr std::int64_t longest_side = 65'536;

std::vector<Dimension> read_dimensions(Reader& reader) {
  const std::vector<std::int64_t> extents =
      reader.integers({.name = "dimensions",
                       .help = "chips along each dimension, as [32, 32]",
                       .at_least = 1,
                       .at_most = longest_side});
  const std::vector<std::int64_t> wraps = reader.integers(
      {.name = "wrap",
       .help = "for each dimension, 1 where its ends are joined to a ring and 0 where not (default: all 1)",
       .at_least = 0,
       .at_most = 1});
  if (extents.empty() && !reader.is_describing())
    reader.fail("dimensions", "is missing, expected the chips along each dimension, as [32, 32]");
  if (!wraps.empty() && wraps.size() != extents.size()) {
    reader.fail("wrap", fmt::format("has {} entries, expected one for each of {} dimensions", wraps.size(),
                                    extents.size()));
  }
  std::int64_t chips = 1;
  std::vector<Dimension> dimensions;
  for (std::size_t d = 0; d < extents.size(); ++d) {
    if (extents[d] > most_chips / chips)
      reader.fail("dimensions", fmt::format("come to more than {} chips", most_chips));
    chips *= extents[d];
    const bool closed = extents[d] > 1 && (wraps.empty() || wraps[d] == 1);
    dimensions.push_back({.extent = static_cast<std::uint32_t>(extents[d]), .wraps = closed});
  }
  return dimensions;
}

std::unique_ptr<const Topology> make(Reader& reader) {
  std::vector<Dimension> dimensions = read_dimensions(reader);
  const std::uint32_t cores = static_cast<std::uint32_t>(
      reader.integer({.name = "cores_per_chip",
                      .help = "devices of one chip, which share its links (TPU v3: 2)",
                      .fallback = 1,
                      .at_least = 1,
                      .at_most = 64}));
  const Rate rate =
      reader.rate({.name = "link_rate", .help = "of the cable to one neighbour, per direction, data sheet"});
  const double efficiency = reader.number({.name = "link_efficiency",
                                           .help = "share of link_rate that traffic reaches",
                                           .fallback = 1.0,
                                           .at_least = 0.01,
                                           .at_most = 1.0});
  // 1 us: ASTRA-sim documentation, validation on TPU v3, as told by Google's TPU research team.
  const Time hop = reader.time(
      {.name = "hop_latency", .help = "from chip to neighbouring chip", .fallback = Time{1'000'000}});
  const Cable link{LinkClass::ici, rate * efficiency, hop, hop};
  // A core can fill all links of its chip and no more: two directions of each dimension.
  const double links = std::max<double>(1, 2 * static_cast<double>(dimensions.size()));
  return std::make_unique<Torus>(std::move(dimensions), cores, link,
                                 Cable{LinkClass::on_chip, link.rate * links, Time{}, Time{}});
}

}  // namespace

extern constexpr Entry<Topology> torus_topology{
    .name = "torus",
    .sentence = "chips in a grid whose ends may be joined, each wired to its neighbours: TPU pods",
    .make = make};

}  // namespace moesim
