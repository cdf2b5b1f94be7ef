#include "options.hpp"

#include <cstdio>
#include <cstdlib>

namespace measure {
namespace {

constexpr const char* usage =
    "usage: moesim-measure [--out FILE] [--device N|all] [--quick] [--check] [--test] [--only TEXT] [--mpi]\n"
    "Measures what the operations of a mixture-of-experts block take on the GPUs of this machine.\n"
    "  --out FILE    where the measurements go, as JSON (default: standard output)\n"
    "  --device N    which GPU (default: 0), or all of them\n"
    "  --quick       a tenth of the shapes, in less than a minute (all: less than eight minutes)\n"
    "  --check       whole blocks instead, forward and backward, to hold predictions against\n"
    "  --test        holds every kernel to a reference on the host instead of timing it\n"
    "  --only TEXT   sections whose name holds TEXT; with --test, own: kernels of our own\n"
    "  --mpi         under mpirun, one process a GPU: links and collectives between all of them as well\n";

}  // namespace

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&] {
      if (i + 1 >= count) throw WrongInput(word + " needs a value");
      return std::string(words[++i]);
    };
    if (word == "--out")
      options.out = value();
    else if (word == "--only")
      options.only = value();
    else if (word == "--quick")
      options.quick = true;
    else if (word == "--check")
      options.check = true;
    else if (word == "--test")
      options.test = true;
    else if (word == "--mpi")
      options.mpi = true;
    else if (word == "--child")
      options.child = true;
    else if (word == "--device") {
      const std::string which = value();
      options.all = which == "all";
      if (!options.all && which.find_first_not_of("0123456789") != std::string::npos)
        throw WrongInput("--device: is '" + which + "', expected a number or all");
      if (!options.all) options.device = std::atoi(which.c_str());
    } else if (word == "--help" || word == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    } else {
      throw WrongInput("unknown option '" + word +
                       "' (known: --out, --device, --quick, --check, --test, --only, --mpi)");
    }
  }
  return options;
}

}  // namespace measure
