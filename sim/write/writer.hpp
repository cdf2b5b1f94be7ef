// Writers: what a command has to tell, as a file of some format.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/family.hpp"
#include "models/config/value.hpp"
#include "sim/write/table.hpp"

namespace moesim {

struct Report;
struct TaskGraph;
struct Timeline;
struct Work;

/// One run, from the work of its scenario to the report, which outlive it.
struct ToldRun {
  const Work& work;
  const TaskGraph& graph;
  const Timeline& timeline;
  const Report& report;
};

/// The forms in which something is told. A page is all of them that there are.
enum class Form : std::uint8_t { text, json, table, graph, run, page };

/// What a command has to tell. A form is made when a writer asks for it; one that there is not is empty.
/// What it is made of outlives it.
struct Told {
  std::function<std::string()> text{};  ///< for people
  std::function<Value()> json{};
  /// In place of `json` where there are many documents, which are not held at once: gives each to `take`.
  std::function<void(const std::function<void(const Value& document)>& take)> json_lines{};
  std::function<Table()> table{};
  std::function<std::string()> graph{};  ///< in Graphviz's language
  std::function<ToldRun()> run{};
  std::function<Value()> scenario{};  ///< for a page, where `json` does not have it
  std::string command{};              ///< for a page: what told it, as it was typed
};

/// A writer. A family: each writes one format, of anything that is told in its form.
class Writer {
 public:
  explicit Writer(Form form) : form_(form) {}
  virtual ~Writer() = default;
  /// The whole file. Pure: asks `told` for the writer's form, which it has.
  virtual std::string write(const Told& told) const = 0;
  Form form() const { return form_; }

 private:
  Form form_;
};

/// The members of the family.
Register<Writer> writers();

/// Names of the formats of these forms, form by form, and what one of them is.
std::vector<std::string> formats(std::initializer_list<Form> forms);
std::string_view sentence_of(std::string_view format);

/// What is told in the format of that name.
std::string write(const Told& told, std::string_view format);

}  // namespace moesim
