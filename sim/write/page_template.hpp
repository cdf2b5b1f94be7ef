// The page without data, which the build takes from tools/page/dist/page.html.
#pragma once

#include <string_view>

namespace moesim {

std::string_view page_template();

}  // namespace moesim
