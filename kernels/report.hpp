// Measurements as lines of JSON.
#pragma once

#include <string>
#include <vector>

#include "bench.hpp"
#include "block.hpp"
#include "contention.hpp"
#include "peers.hpp"
#include "power.hpp"

namespace measure {

std::string quoted(const std::string& text);
std::string number(double value);
/// A member of an object whose value is a list, one line an item.
/// What is drawn, as a member of a device.
std::string power_lines(const PowerTimes& times);
std::string list(const std::string& name, const std::vector<std::string>& lines);
/// The date and time, in UTC.
std::string now();

/// Members that say which device it is.
std::string facts_lines(const DeviceFacts& facts, const Clocks& clocks);
/// `best_rate` in operations and `bandwidth` in bytes a second: what the shares are shares of.
std::string line_of(const Record& record, double best_rate, double bandwidth);
std::string beside_line(const Beside& beside);
std::string block_line(const BlockTime& block);
std::string link_line(const Link& link);
std::string collective_line(const CollectiveTime& time);

}  // namespace measure
