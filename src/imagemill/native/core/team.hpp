// Threads that share the work of several callers: items of the batch that came first go first, and where it runs out
// of items the next batch's are begun, so that no thread waits for the last picture of a batch.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace imagemill {

class Team {
  public:
    // One thread is none of its own: callers work themselves, one at a time, which saves handing over. There may also be
    // fewer than asked for, where the system gives no more.
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    // Calls work(0) … work(count - 1), each once, in any order; returns when all are done. `work` must not throw.
    // May be called by several threads at once.
    void run(int64_t count, const std::function<void(int64_t)>& work);

  private:
    struct Task {
        const std::function<void(int64_t)>* work;
        int64_t count;
        int64_t next;
        int64_t unfinished;
    };

    void serve();

    std::mutex work_;  // held by the caller that works, where there are no threads
    std::mutex mutex_;
    std::condition_variable work_is_there_;
    std::condition_variable something_is_done_;
    std::deque<Task*> tasks_;  // that still have items nobody took
    bool is_ending_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace imagemill
