#include "team.hpp"

#include <algorithm>
#include <system_error>

namespace imagemill {
namespace {

// Items taken at a time: less and less towards the end, so that all threads end together.
int64_t share(int64_t left, size_t threads) {
    return std::max<int64_t>(1, left / (4 * static_cast<int64_t>(threads)));
}

}  // namespace

Team::Team(int threads) {
    threads_.reserve(static_cast<size_t>(std::max(threads, 0)));
    try {
        for (int i = 0; threads > 1 && i < threads; ++i) {
            threads_.emplace_back([this] { serve(); });
        }
    } catch (const std::system_error&) {
        // No more threads to be had: those that run do the work.
    }
}

Team::~Team() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        is_ending_ = true;
    }
    work_is_there_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void Team::run(int64_t count, const std::function<void(int64_t)>& work) {
    if (threads_.empty()) {
        const std::lock_guard<std::mutex> lock(work_);
        for (int64_t i = 0; i < count; ++i) {
            work(i);
        }
        return;
    }
    if (count <= 0) {
        return;
    }
    Task task{&work, count, 0, count};
    std::unique_lock<std::mutex> lock(mutex_);
    tasks_.push_back(&task);
    work_is_there_.notify_all();
    something_is_done_.wait(lock, [&task] { return task.unfinished == 0; });
}

void Team::serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        work_is_there_.wait(lock, [this] { return is_ending_ || !tasks_.empty(); });
        if (tasks_.empty()) {
            return;
        }
        Task* task = tasks_.front();
        const int64_t first = task->next;
        task->next += share(task->count - first, threads_.size());
        const int64_t last = task->next;
        if (last == task->count) {
            tasks_.pop_front();
        }
        lock.unlock();
        for (int64_t i = first; i < last; ++i) {
            (*task->work)(i);
        }
        lock.lock();
        task->unfinished -= last - first;
        if (task->unfinished == 0) {
            something_is_done_.notify_all();  // the task is gone as soon as the lock is
        }
    }
}

}  // namespace imagemill
