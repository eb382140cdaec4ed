-- Returns how many counters cannot be read, the number of attempts that began within a day, then each country and the number
-- of attempts to it.

local sum, _, unreadable = count_day(keys.day)
local answer = {'0', text(sum)}
for _, country in ipairs(call('SMEMBERS', keys.countries)) do
    local more
    sum, _, more = count_day(keys.country(country))
    unreadable = unreadable + more
    if sum > 0 then
        answer[#answer + 1] = country
        answer[#answer + 1] = text(sum)
    end
end
answer[1] = text(unreadable)
return answer
