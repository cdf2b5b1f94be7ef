// The only file that knows SQLite.
#include "sim/sweep/results.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <thread>

#include "models/base/error.hpp"

namespace moesim {

struct Results::File {
  sqlite3* database = nullptr;
  std::string path;
  int lock = -1;  ///< open as long as SQLite has the file: closing it would undo SQLite's own locks
  ~File() {
    sqlite3_close(database);
    if (lock >= 0) ::close(lock);
  }
  void require(bool holds) const {
    if (!holds) throw RunError(fmt::format("{}: {}", path, sqlite3_errmsg(database)));
  }
  void run(const char* sql) const {
    require(sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  }
};

namespace {

constexpr const char* remedy = "give another --out, or remove the file to start anew";

/// Makes this process the file's only sweep, by a lock on a byte that no file has; SQLite's readers do not
/// notice. The kernel takes it back when the process ends, however it ends, and its workers a moment later.
void lock(Results::File& file) {
  file.lock = ::open(file.path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file.lock < 0) throw InputError(file.path, fmt::format("cannot be opened: {}", std::strerror(errno)));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  whole.l_start = std::numeric_limits<off_t>::max() - 1;
  whole.l_len = 1;
  for (int tries = 20; ::fcntl(file.lock, F_OFD_SETLK, &whole) != 0; --tries) {
    if (errno != EAGAIN && errno != EACCES) return;  // a file system without locks
    if (tries == 0) throw RunError(fmt::format("{}: another sweep writes to it", file.path));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

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

/// Notes what the file is of. Returns whether it is of this already or from now on.
bool claim(const Results::File& file, std::string_view name, std::string_view content) {
  Statement known(file.database, "SELECT content FROM sweep WHERE name = ?", {name});
  const int state = known.step();
  if (state == SQLITE_ROW) return known.text(0) == content;
  file.require(state == SQLITE_DONE);
  Statement add(file.database, "INSERT INTO sweep VALUES (?, ?)", {name, content});
  file.require(add.step() == SQLITE_DONE);
  return true;
}

/// All of it, so that a file that was cut or overwritten is refused before hours of work, not after.
void check_whole(const Results::File& file) {
  sqlite3_stmt* statement = nullptr;
  const int state = sqlite3_prepare_v2(file.database, "PRAGMA quick_check(1)", -1, &statement, nullptr);
  const bool is_whole =
      state == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW &&
      std::string_view(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0))) == "ok";
  const int failure = sqlite3_errcode(file.database);
  sqlite3_finalize(statement);
  if (is_whole) return;
  file.require(failure != SQLITE_BUSY && failure != SQLITE_LOCKED && failure != SQLITE_IOERR);
  throw InputError(file.path, "is damaged, or no file of results", remedy);
}

}  // namespace

Results::Results(const std::string& path, std::string_view scenario, std::string_view keys)
    : file_(std::make_unique<File>()) {
  file_->path = path;
  if (path != ":memory:") lock(*file_);
  if (sqlite3_open(path.c_str(), &file_->database) != SQLITE_OK)
    throw InputError(path, fmt::format("cannot be opened: {}", sqlite3_errmsg(file_->database)));
  sqlite3_busy_timeout(file_->database, 10'000);
  check_whole(*file_);
  file_->run("BEGIN IMMEDIATE");  // what is refused below stays as it was
  file_->run("CREATE TABLE IF NOT EXISTS sweep (name TEXT PRIMARY KEY, content TEXT NOT NULL)");
  file_->run(
      "CREATE TABLE IF NOT EXISTS point (choice TEXT PRIMARY KEY, scenario TEXT NOT NULL, report TEXT, "
      "error TEXT)");
  if (!claim(*file_, "version", MOESIM_VERSION))
    throw InputError(path, "holds results of another version than moesim " MOESIM_VERSION, remedy);
  if (!claim(*file_, "scenario", scenario))
    throw InputError(path, "holds the results of another sweep: its scenario differs", remedy);
  if (!claim(*file_, "keys", keys))
    throw InputError(path, "holds the results of another sweep: its keys differ", remedy);
  file_->run("COMMIT");
}

Results::~Results() = default;

std::map<std::string, bool> Results::known() const {
  std::map<std::string, bool> found;
  Statement all(file_->database, "SELECT choice, error FROM point");
  int state = all.step();
  for (; state == SQLITE_ROW; state = all.step()) found[all.text(0)] = !all.text(1).empty();
  file_->require(state == SQLITE_DONE);
  return found;
}

PointResult Results::find(const std::string& choice) const {
  Statement one(file_->database, "SELECT scenario, report, error FROM point WHERE choice = ?", {choice});
  const int state = one.step();
  file_->require(state == SQLITE_ROW || state == SQLITE_DONE);
  if (state == SQLITE_DONE) return {};
  return {.scenario = one.text(0), .report = one.text(1), .error = one.text(2)};
}

void Results::keep(const std::vector<std::pair<std::string, const PointResult*>>& points) {
  file_->run("BEGIN IMMEDIATE");
  for (const auto& [choice, result] : points) {
    Statement add(file_->database, "INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?)",
                  {choice, result->scenario, result->report, result->error});
    file_->require(add.step() == SQLITE_DONE);
  }
  file_->run("COMMIT");
}

}  // namespace moesim
