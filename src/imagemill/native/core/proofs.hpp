// Files that are proven as they arrive, by threads of the queue's own; results are fetched by whoever hears the bell. No
// thread that waits for anything else has a part in it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace imagemill {

// Whether every code of a JPEG is there and nothing is to be remarked of it; false says nothing.
bool is_proven(const uint8_t* data, size_t size);

// Part of the interface: native/proofs.py has the same.
struct Proof {
    int64_t ticket;
    int32_t holds;  // 0 says nothing of the file: another decoder must judge
    int32_t error;  // errno, where the file could not be written
    uint8_t sha256[32];
};

struct ToProve {
    const uint8_t* data;
    size_t size;
    int64_t ticket;
    int64_t mark;      // what is written to the thread's place while it looks at the file, instead of 0
    bool decodes;      // all codes of the JPEG; without, every file holds
    std::string path;  // where a file that holds is written to; "" for nowhere
};

class ProofQueue {
  public:
    // Threads are started when there is work for them. `marks` has a place for each, and may be null. A byte is written to
    // `bell`, which does not block, when there is something to be taken where there was nothing.
    ProofQueue(int threads, int bell, int64_t* marks);
    // What was not begun is forgotten; waits for the rest.
    ~ProofQueue();
    ProofQueue(const ProofQueue&) = delete;
    ProofQueue& operator=(const ProofQueue&) = delete;

    // The data must live until its proof is taken. False where no thread could be started. Throws std::bad_alloc.
    bool put(ToProve file);

    // As many proofs as are ready and there is room for; for one thread at a time.
    int64_t take(Proof* proofs, int64_t room);

  private:
    void serve(size_t place);
    void ring();

    const size_t most_;
    const int bell_;
    int64_t* const marks_;
    std::mutex mutex_;
    std::condition_variable work_is_there_;
    std::deque<ToProve> waiting_;
    std::vector<Proof> done_;
    size_t untaken_ = 0;
    size_t idle_ = 0;
    bool is_ending_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace imagemill
