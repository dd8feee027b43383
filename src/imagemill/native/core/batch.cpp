#include "batch.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "picture.hpp"

namespace imagemill {
namespace {

Status decode_or_status(const Batch& batch, int64_t index) {
    Text text(batch.texts + index * kTextBytes);
    batch.profiles[index] = 0;
    try {
        return decode_picture(batch, index, text);
    } catch (const std::bad_alloc&) {
        text.print("out of memory");
        return Status::kNoMemory;
    }
}

void decode_one(const Batch& batch, int64_t index) {
    const Status status = decode_or_status(batch, index);
    batch.statuses[index] = static_cast<int32_t>(status);
    if (status != Status::kDone) {  // nothing half written, whatever was in the buffer before
        const size_t bytes = static_cast<size_t>(batch.sides.height) * batch.sides.width * batch.channels;
        std::memset(batch.out + static_cast<size_t>(index) * bytes, 0, bytes);
    }
}

}  // namespace

void decode_batch(const Batch& batch, int threads) {
    std::atomic<int64_t> next{0};
    const auto work = [&batch, &next] {
        for (int64_t index = next++; index < batch.count; index = next++) {
            decode_one(batch, index);
        }
    };
    // Threads live for one batch: starting one takes microseconds, a batch takes milliseconds, and a process
    // that forks in between inherits no pool that hangs.
    std::vector<std::thread> others;
    const int64_t wanted = std::min<int64_t>(threads, batch.count) - 1;
    others.reserve(static_cast<size_t>(std::max<int64_t>(wanted, 0)));
    try {
        for (int64_t i = 0; i < wanted; ++i) {
            others.emplace_back(work);
        }
    } catch (const std::system_error&) {
        // No more threads to be had: those that run do the work.
    }
    work();
    for (std::thread& other : others) {
        other.join();
    }
}

}  // namespace imagemill
