// Places one call through PhoneGate and follows it to its end, with a wrapper that a C++ host can copy.
//
//     c++ -std=c++17 -Iinclude examples/cpp/place_call.cpp -Ltarget/release -lphonegate -o place_call
//     PHONEGATE_CONFIG=$PWD/examples/demo.json LD_LIBRARY_PATH=target/release ./place_call "+1 4255551212" "$(uuidgen)"
//
// Exit code: 0 if the call was verified, 1 if it failed, 2 if the arguments are wrong.

#include "phonegate.h"

#include <chrono>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace phonegate {

using LogLine = std::function<void(int level, const char *message)>;

// The gate, from its start to its end. A process has one gate, so have one of these.
class Gate {
public:
    // Starts the gate from a configuration, or throws std::runtime_error with the library's explanation.
    explicit Gate(const char *config_path, LogLine log_line) : log_line_(std::move(log_line)) {
        if (PhoneGateAbiVersion() != PHONEGATE_ABI_VERSION) {
            throw std::runtime_error(std::string("phonegate.h does not belong to library ") + PhoneGateVersion());
        }
        if (PhoneGateSetLogCallback(&Gate::on_log_line, &log_line_) != PHONEGATE_OK) {
            throw std::runtime_error("the log callback cannot be set");
        }
        std::string error(1024, '\0');
        if (PhoneGateInitialize(config_path, error.data(), error.size(), nullptr) != PHONEGATE_OK) {
            end();
            throw std::runtime_error(error.c_str()); // a prefix, if the explanation is longer
        }
    }

    ~Gate() { end(); }

    Gate(const Gate &) = delete;
    Gate &operator=(const Gate &) = delete;

    phonegate_status initiate(const std::string &number, const std::string &id, const char *attributes = nullptr) {
        return InitiateCall(number.c_str(), id.c_str(), attributes);
    }

    phonegate_status status(const std::string &id) const { return GetCallStatus(id.c_str()); }

    std::string failure_message(const std::string &id) const {
        std::string text;
        std::size_t needed = 0;
        phonegate_result result = GetFailureMessage(id.c_str(), nullptr, 0, &needed);
        // The text may grow between two calls of GetFailureMessage, as long as the call has not ended.
        while (result == PHONEGATE_BUFFER_TOO_SMALL) {
            text.resize(needed);
            result = GetFailureMessage(id.c_str(), text.data(), text.size(), &needed);
        }
        if (result != PHONEGATE_OK) return "the reason cannot be read (" + std::to_string(result) + ")";
        text.resize(needed - 1); // without the NUL
        return text;
    }

private:
    // The callback is removed first: after that, log_line_ may be destroyed.
    static void end() noexcept {
        PhoneGateShutdown(5000);
        PhoneGateSetLogCallback(nullptr, nullptr);
    }

    // No exception may leave the callback.
    static void on_log_line(void *user_data, std::int32_t level, const char *message) noexcept {
        try {
            (*static_cast<LogLine *>(user_data))(level, message);
        } catch (...) {
        }
    }

    LogLine log_line_;
};

} // namespace phonegate

int main(int argc, char **argv) try {
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " PHONE_NUMBER REQUEST_ID\n";
        return 2;
    }
    const std::string number = argv[1], id = argv[2];
    phonegate::Gate gate(nullptr, [](int, const char *message) { std::cerr << "  " << message << '\n'; });

    phonegate_status status = gate.initiate(number, id);
    std::cout << "Calling." << std::endl;
    while (status == PHONEGATE_PENDING) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        status = gate.status(id);
    }
    // Only one number means success. Every other one is a failure, even if this program does not know it.
    if (status == PHONEGATE_SUCCESS) {
        std::cout << "Verified.\n";
        return 0;
    }
    std::cout << "Failed: " << gate.failure_message(id) << '\n';
    return 1;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
