// The only file that knows SQLite.
#include "sim/run/results.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <initializer_list>

#include "models/base/error.hpp"

namespace moesim {

struct Results::File {
  sqlite3* database = nullptr;
  std::string path;
  ~File() { sqlite3_close(database); }
  void require(bool holds) const {
    if (!holds) throw RunError(fmt::format("{}: {}", path, sqlite3_errmsg(database)));
  }
  void run(const char* sql) const {
    require(sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  }
};

namespace {

/// One SQL statement with its arguments bound.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql, std::initializer_list<std::string_view> arguments = {}) {
    if (sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr) != SQLITE_OK)
      throw RunError(sqlite3_errmsg(database));
    int place = 0;
    for (const std::string_view text : arguments) {
      sqlite3_bind_text(statement_, ++place, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  int step() { return sqlite3_step(statement_); }
  std::string text(int column) {
    const unsigned char* found = sqlite3_column_text(statement_, column);
    return found == nullptr ? "" : reinterpret_cast<const char*>(found);
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

/// Notes what the file is of, or throws where it is of something else.
void claim(sqlite3* database, const std::string& path, std::string_view name, std::string_view content) {
  Statement known(database, "SELECT content FROM sweep WHERE name = ?", {name});
  if (known.step() == SQLITE_ROW) {
    if (known.text(0) == content) return;
    throw InputError(path, fmt::format("holds the results of another sweep: its {} differ{}", name,
                                       name == "keys" ? "" : "s"),
                     "give another --out, or remove the file to start anew");
  }
  Statement add(database, "INSERT INTO sweep VALUES (?, ?)", {name, content});
  if (add.step() != SQLITE_DONE) throw RunError(fmt::format("{}: {}", path, sqlite3_errmsg(database)));
}

}  // namespace

Results::Results(const std::string& path, std::string_view scenario, std::string_view keys)
{
  auto file = std::make_unique<File>();
  file->path = path;
  if (sqlite3_open(path.c_str(), &file->database) != SQLITE_OK)
    throw InputError(path, fmt::format("cannot be opened: {}", sqlite3_errmsg(file->database)));
  sqlite3_busy_timeout(file->database, 10'000);
  file->run("CREATE TABLE IF NOT EXISTS sweep (name TEXT PRIMARY KEY, content TEXT NOT NULL)");
  file->run(
      "CREATE TABLE IF NOT EXISTS point (choice TEXT PRIMARY KEY, scenario TEXT NOT NULL, report TEXT, "
      "error TEXT)");
  claim(file->database, path, "scenario", scenario);
  claim(file->database, path, "keys", keys);
  file_ = std::move(file);
}

Results::~Results() = default;

std::map<std::string, PointResult> Results::load() const {
  std::map<std::string, PointResult> found;
  Statement all(file_->database, "SELECT choice, scenario, report, error FROM point");
  int state = all.step();
  for (; state == SQLITE_ROW; state = all.step()) {
    found[all.text(0)] = {.scenario = all.text(1), .report = all.text(2), .error = all.text(3)};
  }
  file_->require(state == SQLITE_DONE);
  return found;
}

void Results::keep(const std::string& choice, const PointResult& result) {
  Statement add(file_->database, "INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?)",
                {choice, result.scenario, result.report, result.error});
  file_->require(add.step() == SQLITE_DONE);
}

}  // namespace moesim
