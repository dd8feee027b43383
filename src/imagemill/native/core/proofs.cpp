#include "proofs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "jpeg_reader.hpp"
#include "sha256.hpp"

namespace imagemill {
namespace {

// Again where a signal came first.
template <typename Call>
ssize_t insisted(const Call& call) {
    ssize_t result = 0;
    do {
        result = call();
    } while (result < 0 && errno == EINTR);
    return result;
}

// 0, or errno.
int write_file(const char* path, const uint8_t* data, size_t size) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    const int file = static_cast<int>(insisted([=] { return open(path, flags, 0666); }));
    if (file < 0) {
        return errno;
    }
    int error = 0;
    while (size > 0 && error == 0) {
        const ssize_t written = insisted([=] { return write(file, data, size); });
        error = written < 0 ? errno : 0;
        data += std::max<ssize_t>(written, 0);
        size -= static_cast<size_t>(std::max<ssize_t>(written, 0));
    }
    return close(file) != 0 && error == 0 ? errno : error;
}

Proof proof_of(const ToProve& file) {
    Proof proof{file.ticket, !file.decodes || is_proven(file.data, file.size) ? 1 : 0, 0, {}};
    if (proof.holds != 0) {
        sha256(file.data, file.size, proof.sha256);
        proof.error = file.path.empty() ? 0 : write_file(file.path.c_str(), file.data, file.size);
    }
    return proof;
}

}  // namespace

bool is_proven(const uint8_t* data, size_t size) {
    try {
        Text text(nullptr);
        JpegReader reader(text);
        return size >= 4 && data[0] == 0xFF && data[1] == 0xD8 && reader.open(data, size) && reader.prove();
    } catch (const std::bad_alloc&) {
        return false;
    }
}

ProofQueue::ProofQueue(int threads, int bell, int64_t* marks)
    : most_(static_cast<size_t>(std::max(threads, 1))), bell_(bell), marks_(marks) {
    threads_.reserve(most_);
}

ProofQueue::~ProofQueue() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_ending_ = true;
        waiting_.clear();
    }
    work_is_there_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

bool ProofQueue::put(ToProve file) {
    bool is_short_of_threads = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        done_.reserve(untaken_ + 1);  // here, where somebody can be told that there is no memory
        waiting_.push_back(std::move(file));
        ++untaken_;
        is_short_of_threads = idle_ < waiting_.size() && threads_.size() < most_;
    }
    if (is_short_of_threads) {
        try {
            const size_t place = threads_.size();
            threads_.emplace_back([this, place] { serve(place); });
        } catch (const std::system_error&) {
            return !threads_.empty();  // those that run do the work
        }
    }
    work_is_there_.notify_one();
    return true;
}

int64_t ProofQueue::take(Proof* proofs, int64_t room) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto count = std::min<int64_t>(room, static_cast<int64_t>(done_.size()));
    std::copy(done_.begin(), done_.begin() + count, proofs);
    done_.erase(done_.begin(), done_.begin() + count);
    untaken_ -= static_cast<size_t>(count);
    return count;
}

void ProofQueue::ring() {
    const char byte = 0;
    insisted([this, &byte] { return write(bell_, &byte, 1); });
}

void ProofQueue::serve(size_t place) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        ++idle_;
        work_is_there_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
        --idle_;
        if (is_ending_) {
            return;
        }
        const ToProve file = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        if (marks_ != nullptr) {
            __atomic_store_n(marks_ + place, file.mark, __ATOMIC_SEQ_CST);
        }
        const Proof proof = proof_of(file);
        if (marks_ != nullptr) {
            __atomic_store_n(marks_ + place, 0, __ATOMIC_SEQ_CST);
        }
        lock.lock();
        done_.push_back(proof);
        if (done_.size() == 1) {
            lock.unlock();
            ring();
            lock.lock();
        }
    }
}

}  // namespace imagemill
