// The program: parses the command line, runs one command, turns errors into exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app("moesim: where the time of a mixture-of-experts training step goes");
  app.set_version_flag("--version", "moesim " MOESIM_VERSION);
  CLI11_PARSE(app, argc, argv);
  fmt::print("{}", app.help());
  return 0;
}
