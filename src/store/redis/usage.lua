-- Returns the number of attempts that began within a day, then each country and the number of attempts to it.

local sum = count_day(keys.day)
local answer = {text(sum)}
for _, country in ipairs(call('SMEMBERS', keys.countries)) do
    sum = count_day(keys.country(country))
    if sum > 0 then
        answer[#answer + 1] = country
        answer[#answer + 1] = text(sum)
    end
end
return answer
