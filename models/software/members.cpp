#include "models/software/members.hpp"

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {

const Entry<Software>& software_named(std::string_view name) {
  const Register<Software> all = softwares();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Entry<Software>* one) { return one->name == name; });
  ensure(found != all.end(), "a software is in the register");
  return **found;
}

}  // namespace moesim
