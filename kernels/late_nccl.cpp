// The functions of NCCL that are used here, passed on to the library that the machine has: the program is
// built with NCCL's header alone.
#include <nccl.h>

#include "late.hpp"
#include "library.hpp"

namespace measure {
namespace {

const Library& nccl() {
  static const Library library("libnccl.so.2");
  return library;
}

}  // namespace

std::string why_no_nccl() { return nccl().problem(); }

}  // namespace measure

using measure::nccl;

ncclResult_t ncclGetVersion(int* version) {
  return nccl().get<decltype(ncclGetVersion)>("ncclGetVersion")(version);
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return nccl().get<decltype(ncclGetUniqueId)>("ncclGetUniqueId")(id);
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return nccl().get<decltype(ncclCommInitRankConfig)>("ncclCommInitRankConfig")(comm, ranks, id, rank,
                                                                                config);
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  return nccl().get<decltype(ncclCommDestroy)>("ncclCommDestroy")(comm);
}
const char* ncclGetErrorString(ncclResult_t result) {
  return nccl().get<decltype(ncclGetErrorString)>("ncclGetErrorString")(result);
}
ncclResult_t ncclAllReduce(const void* in, void* out, std::size_t count, ncclDataType_t type, ncclRedOp_t sum,
                           ncclComm_t comm, cudaStream_t stream) {
  return nccl().get<decltype(ncclAllReduce)>("ncclAllReduce")(in, out, count, type, sum, comm, stream);
}
ncclResult_t ncclAllGather(const void* in, void* out, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return nccl().get<decltype(ncclAllGather)>("ncclAllGather")(in, out, count, type, comm, stream);
}
ncclResult_t ncclReduceScatter(const void* in, void* out, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t sum, ncclComm_t comm, cudaStream_t stream) {
  return nccl().get<decltype(ncclReduceScatter)>("ncclReduceScatter")(in, out, count, type, sum, comm,
                                                                      stream);
}
ncclResult_t ncclSend(const void* in, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return nccl().get<decltype(ncclSend)>("ncclSend")(in, count, type, peer, comm, stream);
}
ncclResult_t ncclRecv(void* out, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return nccl().get<decltype(ncclRecv)>("ncclRecv")(out, count, type, peer, comm, stream);
}
ncclResult_t ncclGroupStart() { return nccl().get<decltype(ncclGroupStart)>("ncclGroupStart")(); }
ncclResult_t ncclGroupEnd() { return nccl().get<decltype(ncclGroupEnd)>("ncclGroupEnd")(); }
