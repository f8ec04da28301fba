# SPDX-License-Identifier: LGPL-2.1-or-later
# How a directory declares what it builds; each call links vidas::flags. LINK takes libraries that also reach users.
#   vidas_library(NAME sources... [LINK libs...])      static part, target vidas_NAME
#   vidas_shared_library(NAME OF PART [LINK libs...])  libNAME.so, target libNAME, from the objects of vidas_PART
#   vidas_program(NAME sources... [LINK libs...] [SBIN])   target and program NAME in bin/, installed
#   vidas_backend_module(NAME sources... [LINK libs...])   lib/vidas/backends/vidas-backend-NAME.so, loaded by name
# Programs find modules relative to themselves: <bin or sbin>/../${VIDAS_BACKEND_DIR}, built or installed.
set(VIDAS_BACKEND_DIR lib/vidas/backends)

function(vidas_library name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(vidas_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(vidas_${name} PUBLIC vidas::flags ${arg_LINK})
endfunction()

# Only what its headers mark with default visibility is exported.
function(vidas_shared_library name)
  cmake_parse_arguments(arg "" "OF" "LINK" ${ARGN})
  add_library(lib${name} SHARED $<TARGET_OBJECTS:vidas_${arg_OF}>)
  set_target_properties(lib${name} PROPERTIES OUTPUT_NAME ${name} LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_link_libraries(lib${name} PRIVATE vidas::flags ${arg_LINK})
  target_link_options(lib${name} PRIVATE -Wl,--exclude-libs,ALL)
  install(TARGETS lib${name} DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

function(vidas_program name)
  cmake_parse_arguments(arg "SBIN" "" "LINK" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  target_link_libraries(${name} PRIVATE vidas::flags ${arg_LINK})
  if(arg_SBIN)
    install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_SBINDIR})
  else()
    install(TARGETS ${name} DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

function(vidas_backend_module name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(vidas_backend_${name} MODULE ${arg_UNPARSED_ARGUMENTS})
  set_target_properties(vidas_backend_${name} PROPERTIES PREFIX "" OUTPUT_NAME vidas-backend-${name}
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/${VIDAS_BACKEND_DIR}")
  target_link_libraries(vidas_backend_${name} PRIVATE vidas::flags ${arg_LINK})
  install(TARGETS vidas_backend_${name} DESTINATION ${VIDAS_BACKEND_DIR})
endfunction()
